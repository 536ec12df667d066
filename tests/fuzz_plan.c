/* Fuzzer: any bytes as a plan. What is read must pass plan_check(), and what is
 * written of it must read again as the same text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    Plan *plan, *again;
    Text  first = {0}, second = {0};
    Error err = {""};

    if (plan_parse(&plan, "fuzz", (const char *)bytes, length, &err) != 0) {
        if (plan || !err.text[0]) abort();
        return 0;
    }
    if (plan_check(plan, &err) != 0) abort();
    plan_text(plan, &first);
    if (plan_parse(&again, "written", text_string(&first), first.length, &err) != 0) abort();
    plan_text(again, &second);
    if (strcmp(text_string(&first), text_string(&second)) != 0) abort();
    text_free(&first);
    text_free(&second);
    plan_free(plan);
    plan_free(again);
    return 0;
}
