#include "plots/plot.h"

#include <string.h>

#include "base/file.h"
#include "plots/gnuplot.h"

/* ---- writing gnuplot ----------------------------------------------------------- */

/* In single quotes gnuplot expands nothing, but it errs on some apostrophes there (''''a'), so a
 * string that has one, or what may begin something else in a line of gnuplot's, stands in double
 * quotes, with octal escapes. */
typedef enum { AS_TEXT, AS_FORMAT, AS_BYTES } Quoting;

/* Appends string as a string of gnuplot's. Control characters become spaces, but in AS_BYTES, a
 * path, where every byte stays what it is; in AS_FORMAT % is doubled, as gnuplot prints there with
 * printf(). */
static void quoted(Text *out, const char *string, Quoting how)
{
    static const char strange[] = "'\"\\`@$";
    Text              clean = {0};

    if (how == AS_BYTES) text_append(&clean, string);
    else                 text_utf8(&clean, string);
    bool single = !strpbrk(text_string(&clean), strange);
    for (const char *c = text_string(&clean); how == AS_BYTES && *c; c++)
        single = single && *c >= ' ' && *c < 0x7f;
    text_append(out, single ? "'" : "\"");
    for (const char *c = text_string(&clean); *c; c++) {
        bool plain = (unsigned char)*c >= ' ' && *c != 0x7f;
        if (!plain && how != AS_BYTES)          text_append(out, " ");
        else if (*c == '%' && how == AS_FORMAT) text_append(out, "%%");
        else if (strchr(strange, *c) || (how == AS_BYTES && (!plain || *c < 0)))
            text_printf(out, "\\%03o", (unsigned)(unsigned char)*c);
        else                                       text_append_bytes(out, c, 1);
    }
    text_append(out, single ? "'" : "\"");
    out->failed = out->failed || text_failed(&clean);
    text_free(&clean);
}

void plot_string(Text *out, const char *string) { quoted(out, string, AS_TEXT); }
void plot_tic(Text *out, const char *string)    { quoted(out, string, AS_FORMAT); }

void plot_axes(Plot *plot, int width, int height)
{
    plot->width = width;
    plot->height = height;
    text_append(
        &plot->script,
        "set border 3 lc rgb '#666666'\nset tics nomirror out scale 0.5 textcolor rgb '#222222'\n"
        "set grid ytics lc rgb '#dddddd' lt 1\nset key off\nset style fill solid 1\n");
}

void plot_begin(Plot *plot, int width, int height, const char *title, const char *subtitle)
{
    Text *out = &plot->script;

    plot_axes(plot, width, height);
    text_append(out, "set tmargin 4\nset label 1 ");
    plot_string(out, title);
    text_append(out,
                " at graph 0, graph 1 left offset 0,2.2 font ',15' tc rgb '#111111'\nset label 2 ");
    plot_string(out, subtitle);
    text_append(out, " at graph 0, graph 1 left offset 0,0.9 tc rgb '#666666'\n");
}

void scene_box(Scene *scene, double x0, double x1, double y0, double y1, int colour)
{
    Text *boxes = x1 - x0 < scene->thin_below ? &scene->thin : &scene->boxes;

    text_printf(boxes, "%.9g %.9g %.9g %.9g %.9g %.9g %d\n", (x0 + x1) / 2, (y0 + y1) / 2, x0, x1,
                y0, y1, colour);
}

void scene_label(Scene *scene, double x, double y, const char *align, int size, int colour,
                 const char *string)
{
    text_append(&scene->labels, "set label ");
    plot_string(&scene->labels, string);
    text_printf(&scene->labels, " at %.9g,%.9g %s font ',%d' tc rgb '#%06x' front\n", x, y, align,
                size, (unsigned)colour);
}

void scene_key(Scene *scene, int colour, const char *string)
{
    text_printf(&scene->keys, ", \\\n    NaN with boxes fs solid 1 noborder lc rgb '#%06x' title ",
                (unsigned)colour);
    plot_string(&scene->keys, string);
}

int scene_end(Scene *scene, Plot *plot, Error *err)
{
    Text *out = &plot->script;

    text_append(out, text_string(&scene->labels));
    if (scene->keys.length)
        text_append(out, "set key outside right top vertical Left reverse samplen 1 spacing 1.2\n");
    if (scene->thin.length) text_printf(out, "$thin << END\n%sEND\n", text_string(&scene->thin));
    text_append(out, "$boxes << END\n");
    text_append(out, text_string(&scene->boxes));
    text_append(
        out, "END\nplot $boxes using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 border rgb '#ffffff' "
             "lc rgb variable notitle");
    if (scene->thin.length)
        text_append(out, ", \\\n    $thin using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 noborder "
                         "lc rgb variable notitle");
    text_append(out, text_string(&scene->keys));
    text_append(out, "\n");
    bool failed = text_failed(&scene->labels) || text_failed(&scene->boxes)
                  || text_failed(&scene->keys) || text_failed(&scene->thin) || text_failed(out);
    text_free(&scene->labels);
    text_free(&scene->boxes);
    text_free(&scene->keys);
    text_free(&scene->thin);
    return failed ? error_no_memory(err) : 0;
}

void plot_free(Plot *plot)
{
    text_free(&plot->script);
}

/* ---- the terminal ----------------------------------------------------------------- */

typedef enum { ENDING_SVG, ENDING_PNG, ENDING_PDF, ENDING_UNKNOWN } Ending;

static Ending ending_of(const char *path)
{
    static const char *const names[] = {".svg", ".png", ".pdf"};
    const char              *dot = strrchr(path, '.');

    for (int i = 0; dot && i < ENDING_UNKNOWN; i++)
        if (strcmp(dot, names[i]) == 0) return (Ending)i;
    return ENDING_UNKNOWN;
}

/* The script of plot into out, to draw what path's ending says: into path, or to standard
 * output. */
static int write_script(Text *out, const Plot *plot, const char *path, bool to_stdout, Error *err)
{
    int w = plot->width, h = plot->height;

    switch (ending_of(path)) {
    case ENDING_SVG:
        text_printf(
            out,
            "set terminal svg noenhanced size %d,%d font 'Helvetica,12' background '#ffffff'\n", w,
            h);
        break;
    case ENDING_PNG:
        text_printf(
            out,
            "set terminal pngcairo noenhanced size %d,%d font 'Sans,12' fontscale 1.5 linewidth 2 "
            "background '#ffffff'\n",
            2 * w, 2 * h);
        break;
    case ENDING_PDF:
        text_printf(
            out,
            "set terminal pdfcairo noenhanced size %.3fin,%.3fin font 'Sans,12' fontscale 0.75\n",
            w / 96.0, h / 96.0);
        break;
    default:
        return error_set(err, "%s: expected a name that ends in .svg, .png or .pdf", path);
    }
    text_append(out, "set encoding utf8\n");
    if (!to_stdout) {
        text_append(out, "set output ");
        quoted(out, path, AS_BYTES);
        text_append(out, "\n");
    }
    text_append(out, text_string(&plot->script));
    text_append(out, "unset output\n");
    return text_failed(out) ? error_no_memory(err) : 0;
}

/* Whether a picture has its end: gnuplot does not always say that it could not write it all. */
static bool is_whole(const Text *picture, Ending ending)
{
    static const struct { const char *bytes; size_t length;
    } ends[] = {
        [ENDING_SVG] = {"</svg>", 6},
        [ENDING_PNG] = {"IEND\xae\x42\x60\x82", 8},
        [ENDING_PDF] = {"%%EOF", 5},
    };
    size_t length = picture->length;

    while (length && ending != ENDING_PNG && strchr("\r\n", picture->bytes[length - 1])) length--;
    return length >= ends[ending].length
           && memcmp(picture->bytes + length - ends[ending].length, ends[ending].bytes,
                     ends[ending].length)
                  == 0;
}

bool plot_has_ending(const char *output)
{
    return ending_of(output) != ENDING_UNKNOWN;
}

int plot_text(Text *out, const Plot *plot, const char *output, Error *err)
{
    return write_script(out, plot, output, false, err);
}

int plot_render(const Plot *plot, const char *output, Error *err)
{
    Text script = {0}, picture = {0};
    int  rc = write_script(&script, plot, output, true, err);

    if (rc == 0)
        rc = gnuplot_run(&picture, &script, err) == 0 ? 0 : error_prefix(err, "%s", output);
    if (rc == 0 && !is_whole(&picture, ending_of(output)))
        rc = error_set(err, "%s: gnuplot gave no whole picture, %zu bytes", output, picture.length);
    if (rc == 0) rc = file_write(output, picture.bytes, picture.length, err);
    text_free(&script);
    text_free(&picture);
    return rc;
}
