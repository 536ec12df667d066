#include "tests/sequence_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tests/hand_nets.h"

#define TOKENS(count)  "{\"tokens\": " count ", \"vocabulary\": 11}"
#define NUMBERS(size)  "{\"channels\": 3, \"height\": " size ", \"width\": 1}"
#define LINEAR(out)    "{\"layer\": \"linear\", \"out\": " out "}"
#define RESIDUAL(body) "{\"layer\": \"residual\", \"body\": [" body "]}"

/* The linear layer in front shows each layer's dx as its own weights' gradient. Attention's tiles
 * are 128 queries by 128 keys on the CPU, 64 by 64 on a GPU: 150 tokens need several of both. */
const SequenceCase sequence_cases[SEQUENCE_CASES] = {
    {"embedding", TOKENS("7"), "{\"layer\": \"embedding\", \"vocabulary\": 13, \"out\": 5}", 3},
    {"embedding with positions", TOKENS("6"),
     "{\"layer\": \"embedding\", \"vocabulary\": 11, \"out\": 20, \"positions\": true},"
     "{\"layer\": \"layernorm\"}",
     4},
    {"embedding with types", "{\"tokens\": 5, \"vocabulary\": 11, \"types\": 2}",
     "{\"layer\": \"embedding\", \"vocabulary\": 11, \"out\": 7, \"positions\": true, \"types\": "
     "3}",
     3},
    {"embedding of many tokens, most of them alike",
     "{\"tokens\": 400, \"vocabulary\": 11, \"types\": 2}",
     "{\"layer\": \"embedding\", \"vocabulary\": 11, \"out\": 5, \"types\": 2}", 5},
    {"linear of tokens", NUMBERS("9"), LINEAR("5") "," LINEAR("33"), 2},
    {"linear of tokens, without bias, cut", NUMBERS("9"),
     "{\"layer\": \"linear\", \"out\": 7, \"bias\": false}, {\"layer\": \"relu\"}", 2},
    {"layernorm", NUMBERS("8"), LINEAR("37") ",{\"layer\": \"layernorm\", \"eps\": 1e-3}", 3},
    {"layernorm without bias, of a vector", NUMBERS("1"),
     LINEAR("16") ",{\"layer\": \"layernorm\", \"bias\": false}", 5},
    {"layernorm over many places", NUMBERS("70"), LINEAR("9") ",{\"layer\": \"layernorm\"}", 5},
    {"rmsnorm", NUMBERS("8"), LINEAR("48") ",{\"layer\": \"rmsnorm\", \"eps\": 1e-2}", 3},
    {"gelu", NUMBERS("11"), LINEAR("19") ",{\"layer\": \"gelu\"}", 3},
    {"gelu by tanh", NUMBERS("11"),
     LINEAR("19") ",{\"layer\": \"gelu\", \"approximate\": \"tanh\"}", 3},
    {"silu, tanh", NUMBERS("11"), LINEAR("19") ",{\"layer\": \"silu\"},{\"layer\": \"tanh\"}", 3},
    {"gated by silu", NUMBERS("5"), LINEAR("34") ",{\"layer\": \"gated\", \"function\": \"silu\"}",
     3},
    {"gated by gelu", NUMBERS("5"), LINEAR("6") ",{\"layer\": \"gated\", \"function\": \"gelu\"}",
     3},
    {"gated by gelu's tanh", NUMBERS("5"),
     LINEAR("32") ",{\"layer\": \"gated\", \"function\": \"gelu_tanh\"}", 2},
    {"gated by relu, tanh", NUMBERS("5"),
     LINEAR("24") ",{\"layer\": \"gated\", \"function\": \"relu\"}," LINEAR(
         "8") ",{\"layer\": \"gated\", \"function\": \"tanh\"}",
     3},
    {"pool of the mean", NUMBERS("5"), LINEAR("7") ",{\"layer\": \"pool\", \"of\": \"mean\"}", 3},
    {"pool of the first", NUMBERS("5"), LINEAR("7") ",{\"layer\": \"pool\", \"of\": \"first\"}", 3},
    {"patches", "{\"channels\": 3, \"height\": 8, \"width\": 12}",
     "{\"layer\": \"conv\", \"out\": 10, \"kernel\": 4, \"stride\": 4, \"padding\": 0},"
     "{\"layer\": \"tokens\", \"class_token\": true, \"positions\": true},{\"layer\": "
     "\"layernorm\"},{\"layer\": \"pool\", \"of\": \"first\"}",
     3},
    {"patches without a class token", "{\"channels\": 3, \"height\": 4, \"width\": 4}",
     "{\"layer\": \"conv\", \"out\": 6, \"kernel\": 2, \"stride\": 2, \"padding\": 0},{\"layer\": "
     "\"tokens\", \"positions\": true}",
     2},
    {"attention", NUMBERS("9"),
     LINEAR("48") ",{\"layer\": \"attention\", \"heads\": 2, \"head_dim\": 8}", 2},
    {"causal attention of several tiles", NUMBERS("150"),
     LINEAR("24") ",{\"layer\": \"attention\", \"heads\": 2, \"head_dim\": 4, \"causal\": true}",
     2},
    {"attention of several tiles, both ways", NUMBERS("150"),
     LINEAR("12") ",{\"layer\": \"attention\", \"heads\": 1, \"head_dim\": 4}", 2},
    {"causal attention in a window", NUMBERS("150"),
     LINEAR("16") ",{\"layer\": \"attention\", \"heads\": 2, \"kv_heads\": 1, \"head_dim\": 4, "
                  "\"causal\": true, \"window\": 17}",
     2},
    {"attention in a window, both ways", NUMBERS("150"),
     LINEAR("12") ",{\"layer\": \"attention\", \"heads\": 1, \"head_dim\": 4, \"window\": 5}", 2},
    {"grouped heads, rotary, normed", NUMBERS("13"),
     LINEAR("64") ",{\"layer\": \"attention\", \"heads\": 4, \"kv_heads\": 2, \"head_dim\": 8, "
                  "\"causal\": true, \"norm\": true, \"eps\": 1e-3,"
                  "\"rotary\": {\"theta\": 50}}",
     2},
    {"rotary of part of a head", NUMBERS("12"),
     LINEAR("30") ",{\"layer\": \"attention\", \"heads\": 1, \"head_dim\": 10, \"rotary\": "
                  "{\"dim\": 4}}",
     2},
    {"rotary scaled as Llama 3's", NUMBERS("40"),
     LINEAR("60") ",{\"layer\": \"attention\", \"heads\": 1, \"head_dim\": 20, \"causal\": true, "
                  "\"rotary\": {\"theta\": 500,"
                  "\"scaling\": {\"factor\": 8, \"low\": 1, \"high\": 4, \"original\": 64}}}",
     2},
    {"heads of 80 numbers", NUMBERS("70"),
     LINEAR("320") ",{\"layer\": \"attention\", \"heads\": 2, \"kv_heads\": 1, \"head_dim\": 80, "
                   "\"causal\": true}",
     1},
    {"heads of 150 numbers", NUMBERS("5"),
     LINEAR("450") ",{\"layer\": \"attention\", \"heads\": 1, \"head_dim\": 150, \"norm\": true, "
                   "\"rotary\": {}}",
     2},
    {"a block with norms before", TOKENS("10"),
     "{\"layer\": \"embedding\", \"vocabulary\": 11, \"out\": 16},"
     RESIDUAL("{\"layer\": \"rmsnorm\"},{\"layer\": \"linear\", \"out\": 32, \"bias\": false},"
              "{\"layer\": \"attention\", \"heads\": 2, \"kv_heads\": 1, \"head_dim\": 8,"
              "\"causal\": true, \"rotary\": {}},"
              "{\"layer\": \"linear\", \"out\": 16, \"bias\": false}") ","
     RESIDUAL("{\"layer\": \"rmsnorm\"},"
              LINEAR("48") ",{\"layer\": \"gated\", \"function\": \"silu\"}," LINEAR("16")) ","
     "{\"layer\": \"rmsnorm\"}," LINEAR("11"), 3},
    {"a block with norms behind", TOKENS("10"),
     "{\"layer\": \"embedding\", \"vocabulary\": 11, \"out\": 16, \"positions\": true}," RESIDUAL(
         LINEAR("48") ",{\"layer\": \"attention\", \"heads\": 2, \"head_dim\": 8}," LINEAR(
             "16")) ",{\"layer\": \"layernorm\"}," RESIDUAL(LINEAR("32") ",{\"layer\": "
                                                                         "\"gelu\"}," LINEAR(
                                                                             "16")) ",{\"layer\": "
                                                                                    "\"layernorm\"}"
                                                                                    ",{\"layer\": "
                                                                                    "\"pool\", "
                                                                                    "\"of\": "
                                                                                    "\"mean\"}",
     3},
    {"attention that ends a residual", NUMBERS("6"),
     LINEAR("12") "," RESIDUAL(LINEAR("36") ",{\"layer\": \"attention\", \"heads\": 3, "
                                            "\"head_dim\": 4}") ",{\"layer\": \"relu\"}",
     2},
};

int sequence_workload(Workload **out, const SequenceCase *c, Error *err)
{
    static const char format[] =
        "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"t\", \"batch\": 8, "
        "\"samples\": 8, \"input\": %s, \"training\": {\"learning_rate\": 0.1}, "
        "\"blocks\": [{\"name\": \"b\", \"loss\": \"mse\", \"teacher\": [%s], \"student\": [%s]}]}";
    size_t room = sizeof format + strlen(c->input) + 2 * strlen(c->layers);
    char  *text = malloc(room);
    int    rc;

    *out = NULL;
    if (!text) return error_no_memory(err);
    snprintf(text, room, format, c->input, c->layers, c->layers);
    rc = workload_parse(out, "case", text, strlen(text), err);
    free(text);
    return rc;
}

float *sequence_input(const Workload *w, int64_t rows)
{
    int64_t count = rows * shape_count(w->input);
    float  *x = draw(3, count);

    for (int64_t i = 0; w->vocabulary > 0 && i < count; i++) {
        bool type = w->types > 0 && i % 2 == 1;
        x[i] = (float)(rng_u64(7, 0, 0, (uint64_t)i)
                       % (uint64_t)(type ? w->types : w->vocabulary));
    }
    return x;
}

int sequence_lengths(const SequenceCase *c, int lengths[SEQUENCE_ROWS], Error *err)
{
    Workload *w;

    if (sequence_workload(&w, c, err) != 0) return -1;
    for (int r = 0; r < SEQUENCE_ROWS; r++)
        lengths[r] = r % 3 == 0 ? w->input.height : r % 3 == 1 ? 1 : w->input.height / 2 + 1;
    workload_free(w);
    return 0;
}
