/* The pages of a report and of the paper when memory runs out at every allocation in turn: it fails
 * with a reason or is whole; and the escaping that pages rest on. What pages look like:
 * test_report.sh. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "plots/html.h"
#include "paper/paper.h"
#include "plots/report_page.h"

static void markup_is_escaped(void **state)
{
    Text text = {0};

    (void)state;
    html_text(&text, "a<b>&\"c\" 'd'\n\x01\x7f\xFF\xC3\xA9");
    assert_string_equal(text_string(&text),
                        "a&lt;b&gt;&amp;&quot;c&quot; &#39;d&#39;   \xEF\xBF\xBD\xC3\xA9");
    text_free(&text);
}

static void sizes_for_people(void **state)
{
    char text[24];

    (void)state;
    assert_string_equal(bytes_shown(text, 1048576 * 1.5), "1.5 MiB");
    assert_string_equal(bytes_shown(text, 1048576 * 150.4), "150 MiB");
    assert_string_equal(bytes_shown(text, 1073741824 * 2.5), "2.50 GiB");
    assert_string_equal(bytes_shown(text, 1073741824 * 48.0), "48.0 GiB");
}

/* What a tool prints, into folder/name; the path is yours. */
static char *made(const char *folder, const char *name, const char *const *argv)
{
    char *path = format_text("%s/%s", folder, name);
    Ran   ran = run_command(argv, NULL);

    if (ran.status != 0) fail_msg("%s: %s", argv[0], ran.err);
    spill(path, ran.out);
    ran_free(&ran);
    return path;
}

static void memory_runs_out(void **state)
{
    char *folder = temp_make(),
         *trace = format_text("%s/tests/fixtures/plots/small.json", PIPEBD_ROOT);
    char *timeline = format_text("%s/timeline.json", folder);
    char *paths[] = {
        made(folder, "comparison.json",
             (const char *[]){"pipebd-plan", trace, "--format", "json", NULL}),
        format_text("%s/tests/fixtures/plots/validation-full.json", PIPEBD_ROOT),
        made(folder, "sweep.csv",
             (const char *[]){"pipebd-sim", trace, "--schedule", "dpu,ahd", "--vary", "devices=1,2",
                              "--format", "csv", NULL}),
        timeline,
    };
    Text  whole = {0};
    Error err = {""};
    char *unused = made(folder, "table.txt",
                        (const char *[]){"pipebd-sim", trace, "--schedule", "ahd", "--timeline",
                                         timeline, "--steps", "6", NULL});
    long  n = 0, failed = 0;

    (void)state;
    if (report_page(&whole, (const char *const *)paths, 4, "made by hand", &err) != 0)
        fail_msg("%s", err.text);
    for (int reached = 1; reached; ) {
        Text page = {0};
        err = (Error){""};
        alloc_fail_after(++n);
        int rc = report_page(&page, (const char *const *)paths, 4, "made by hand", &err);
        reached = alloc_fail_reached();
        alloc_fail_after(0);
        if (rc != 0) { assert_true(error_is_no_memory(&err)); failed++; }
        else         assert_string_equal(text_string(&page), text_string(&whole));
        text_free(&page);
    }
    assert_true(failed > 100);
    text_free(&whole);
    for (int i = 0; i < 4; i++) free(paths[i]);
    free(unused);
    free(trace);
    temp_remove(folder);
}

/* Everything that `make paper` writes, one after another. */
static int paper_texts(Text *out, const char *index, const char *poster, Error *err)
{
    Paper paper;
    int   rc = paper_read(&paper, index, poster, err);

    if (rc == 0) {
        paper_page(out, &paper, "made by hand");
        paper_results(out, &paper);
        paper_breakdown(out, &paper);
        paper_beside(out, &paper);
        if (text_failed(out)) rc = error_no_memory(err);
    }
    paper_free(&paper);
    return rc;
}

static void memory_runs_out_for_the_paper(void **state)
{
    char *folder = temp_make(),
         *trace = format_text("%s/tests/fixtures/plots/small.json", PIPEBD_ROOT);
    char *comparison = made(
        folder, "comparison.json",
        (const char *[]){"pipebd-plan", trace, "--sensitivity", "no", "--format", "json", NULL});
    char *index = format_text("%s/index.csv", folder),
         *poster = format_text("%s/poster.csv", folder);
    char *command = format_text("pipebd-plan %s --sensitivity no --format json", trace);
    char *rows = format_text(
        "figure,workload,title,device,devices,batch,cores,file,why,trace_command,command\n"
        "main,w,W,d,2,8,4,%s,,t,\"%s\"\noriginal,w,W,d,2,8,4,%s,,t,\"%s\"\n"
        "batch,w,W,d,2,4,4,,too large,t,\"%s\"\n",
        comparison, command, comparison, command, command);
    Text  whole = {0};
    Error err = {""};
    long  n = 0, failed = 0;

    (void)state;
    spill(index, rows);
    spill(poster, "figure,workload,device,who,part,value,unit,source,note\nspeedup,w,d,ahd,,2,"
                  "times,here,\"a, b\"\n"
                  "breakdown,w,d,relay1,teacher,3,s,here,\n");
    if (paper_texts(&whole, index, poster, &err) != 0) fail_msg("%s", err.text);
    assert_non_null(strstr(text_string(&whole), "too large"));
    for (int reached = 1; reached; ) {
        Text text = {0};
        err = (Error){""};
        alloc_fail_after(++n);
        int rc = paper_texts(&text, index, poster, &err);
        reached = alloc_fail_reached();
        alloc_fail_after(0);
        if (rc != 0) { assert_true(error_is_no_memory(&err)); failed++; }
        else         assert_string_equal(text_string(&text), text_string(&whole));
        text_free(&text);
    }
    assert_true(failed > 100);
    text_free(&whole);
    free(rows);
    free(command);
    free(poster);
    free(index);
    free(comparison);
    free(trace);
    temp_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markup_is_escaped),
        cmocka_unit_test(sizes_for_people),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(memory_runs_out_for_the_paper),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
