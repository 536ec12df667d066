#include "plots/html_text.h"

void html_text(Text *out, const char *string)
{
    Text clean = {0};

    text_utf8(&clean, string);
    for (const char *c = text_string(&clean); *c; c++) {
        switch (*c) {
        case '&':  text_append(out, "&amp;"); break;
        case '<':  text_append(out, "&lt;"); break;
        case '>':  text_append(out, "&gt;"); break;
        case '"':  text_append(out, "&quot;"); break;
        case '\'': text_append(out, "&#39;"); break;
        default:
            if ((unsigned char)*c < ' ' || *c == 0x7f) text_append(out, " ");
            else                                       text_append_bytes(out, c, 1);
        }
    }
    out->failed |= clean.failed;
    text_free(&clean);
}
