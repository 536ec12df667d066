#!/usr/bin/env python3
"""The rules of docs/design.md for the sources themselves:

    a type name stands for one thing in the whole project
    two headers can be included together, in either order
    a file includes nothing from a floor above its own
    a comment names only functions and files that exist
    files do not include each other in circles, but for registries
    a folder has at most 25 files, NAME.h and NAME.c counted as one
    a function has at most 90 lines, tables of options not counted
    a static function of more than 21 lines has its contract above it
    a function of a header has a comment: its own, or that of its group
    nothing waits by the wall's clock, which may be set meanwhile
    a line has at most 100 columns, but for text in quotes and here-documents of shell scripts

With --count it prints the numbers of the table in docs/design.md instead.
"""

import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap  # noqa: E402  (beside this file)

ROOT = os.environ.get("PIPEBD_ROOT") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLOORS = [["include"], ["base"], ["workloads"], ["traces"], ["traces/import"], ["schedule"],
          ["sim"], ["planner"], ["kernels"], ["executor"],
          ["plots", "paper"], ["tools"], ["bench", "tests"]]
FLOOR = {folder: number for number, folders in enumerate(FLOORS) for folder in folders}
REGISTRIES = {"kernels/backend", "schedule/registry", "workloads/layers", "executor/data/data"}
FILES_MOST = 25
LINES_MOST = 90
LINES_UNSAID = 21
COLUMNS = 100
QUOTED = re.compile(r"""'[^']{50,}'|"(?:\\.|[^"\\]){50,}\"""")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def sources():
    """Paths of all C, CUDA and C++ files below ROOT, as {path: text}."""
    found = {}
    for folder in FLOOR:
        for at, folders, names in os.walk(os.path.join(ROOT, folder)):
            folders.sort()
            for name in sorted(names):
                if name.endswith((".c", ".h", ".cu", ".cpp")):
                    path = os.path.join(at, name)
                    with open(path, encoding="utf-8") as file:
                        found[os.path.relpath(path, ROOT)] = file.read()
    return found


def floor(path):
    """The number of a file's floor: that of its folder in its folder, or of the first; None: of
    none."""
    parts = path.split("/")
    return FLOOR.get("/".join(parts[:2]), FLOOR.get(parts[0]))


def blank(text):
    """The text without comments, its lines kept."""
    return COMMENT.sub(lambda m: "\n" * m.group().count("\n"), text)


def types_defined(text):
    """Names of types that a file defines or forward-declares."""
    text = blank(text)
    names = set(re.findall(r"^\}\s*(\w+)\s*;", text, re.M))  # typedef struct {\n...\n} Name;
    names |= set(
        re.findall(r"^typedef\s+(?:struct|enum|union)\s+\w*\s*\{[^\n]*\}\s*(\w+)\s*;", text, re.M))
    names |= set(re.findall(r"^typedef\s+(?:struct|enum|union)\s+\w+\s+(\w+)\s*;", text, re.M))
    names |= set(re.findall(r"^(?:struct|union)\s+(\w+)\s*\{", text, re.M))
    return {name for name in names if name[0].isupper()}


def twice(files):
    """Types that two files define which are not one pair NAME.h, NAME.c; a declaration in one and
    the definition in another file, as of an opaque type, are one thing."""
    backends = {"Operator"}     # opaque in kernels/backend.h; every backend has its own
    where = {}
    for path, text in files.items():
        if path.startswith(("tests/", "bench/")):
            continue
        for name in types_defined(text):
            where.setdefault(name, set()).add(path)
    result = []
    for name, paths in sorted(where.items()):
        if name in backends:
            continue
        bodies = [p for p in paths
                  if re.search(r"^\}\s*%s\s*;|^(struct|union)\s+%s\s*\{|^typedef[^\n]*\}\s*%s\s*;"
                               % (name, name, name), blank(files[p]), re.M)]
        if len(bodies) > 1:
            result.append("%s: %s" % (name, " ".join(sorted(bodies))))
    return result


def too_high(files):
    """Includes of a floor above."""
    result = []
    for path, text in files.items():
        for name in re.findall(r'^#include "([^"]+)"', text, re.M):
            there = floor(name)
            if there is not None and there > floor(path):
                result.append("%s includes %s" % (path, name))
    return result


def named_in_vain(files):
    """Functions, files and members of types that comments name and that are nowhere."""
    theirs = {"Optimizer"}      # types of other programs
    known, defined = set(), {}  # defined: of each type the words of the files that define it
    for text in files.values():
        words = set(re.findall(r"\w+", blank(text)))
        known |= words
        for name in types_defined(text):
            defined.setdefault(name, set()).update(words)
    result = []
    for path, text in files.items():
        for match in COMMENT.finditer(text):
            line = text[:match.start()].count("\n") + 1
            for name in re.findall(r"\b([a-z]\w+)\(\)", match.group()):
                if name not in known:
                    result.append("%s:%d: %s()" % (path, line, name))
            for name in re.findall(r"(?<![\w/.-])((?:[a-z_]+/)+[\w-]+\.(?:c|h|cu|sh|py|md))\b",
                                   match.group()):
                if name.split("/")[0] in FLOOR and not os.path.exists(os.path.join(ROOT, name)):
                    result.append("%s:%d: %s" % (path, line, name))
            for name, member in re.findall(r"\b([A-Z][a-z]\w+)\.([a-z]\w*)\b", match.group()):
                if name not in theirs and member not in defined.get(name, ()):
                    result.append("%s:%d: %s.%s" % (path, line, name, member))
    return result


def unit(path):
    """NAME.h and NAME.c are one."""
    return os.path.splitext(path)[0]


def includes(files):
    """Of each pair of files NAME.h, NAME.c the others that it includes."""
    graph = {unit(path): set() for path in files}
    for path, text in files.items():
        for name in re.findall(r'^#include "([^"]+)"', text, re.M):
            if unit(name) in graph and unit(name) != unit(path):
                graph[unit(path)].add(unit(name))
    return graph


def circles(graph):
    """Sets of nodes that all reach each other, two at least (Tarjan)."""
    number, low, stack, found = {}, {}, [], []

    def visit(node):
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return found


def in_circles(files):
    """Files that include each other in circles. A registry is a table that names its rows, which
    are written with its types: circles through it are left out."""
    graph = includes(
        {path: text for path, text in files.items() if not path.startswith(("tests/", "bench/"))})
    rest = {node: others - REGISTRIES for node, others in graph.items() if node not in REGISTRIES}
    return [" ".join(circle) for circle in circles(rest)]


def crowded(files):
    """Folders of too many files; tests/ has one a subject and may."""
    names = {}
    for path in files:
        names.setdefault(os.path.dirname(path), set()).add(unit(path))
    return ["%s: %d files" % (folder, len(units)) for folder, units in sorted(names.items())
            if len(units) > FILES_MOST and folder != "tests"]


def functions(text):
    """Functions of a file as (lines but those of tables of options, line of the brace that opens
    the body)."""
    found, start, table, rows = [], None, False, 0
    for number, line in enumerate(text.split("\n"), 1):
        if start is None and (line == "{" or re.match(r"[a-z].*\).*\{$", line)):
            start = number
            rows = 0
        elif line.startswith("}"):
            if start is not None and line == "}":
                found.append((number - start + 1 - rows, start))
            start = None
        table = table and line != "    };" or bool(re.match(r"    Option +\w+\[\] = \{$", line))
        rows += table
    return found


def too_long(files):
    """Functions of too many lines."""
    return ["%s:%d: %d lines" % (path, line, lines) for path, text in files.items()
            for lines, line in functions(text) if lines > LINES_MOST]


def unsaid(files):
    """Static functions of many lines without a comment above, tests and benches apart."""
    result = []
    for path, text in files.items():
        if path.startswith(("tests/", "bench/")):
            continue
        lines = text.split("\n")
        for length, brace in functions(text):
            head = brace - 1  # of lines: the brace; then the signature's first
            while head > 0 and (lines[head].startswith(("{", " ", "\t")) or not lines[head]):
                head -= 1
            signature = lines[head]
            head -= lines[head - 1].startswith("template ")
            if length > LINES_UNSAID and signature.startswith(
                    "static") and not lines[head - 1].endswith("*/"):
                result.append("%s:%d: %s" % (path, head + 1, lines[head]))
    return result


def undescribed(files):
    """Functions that headers declare without a comment: beside them, or above them within the same
    lines that no blank one parts. The end of an object, a function of it alone called _free, needs
    none. Whether a comment says enough is for people to judge."""
    declared = re.compile(r"^(?!static\b|typedef\b|return\b)\w[\w *]*?\b(\w+)\(([^;{}]*)\)"
                          r"(\s*__attribute__[^;]*)?;", re.M)
    result = []
    for path, text in files.items():
        if not path.endswith(".h") or path.startswith(("tests/", "bench/")):
            continue
        lines = text.split("\n")
        within, ends = set(), set()  # lines of comments; ends of those that begin a line
        for match in COMMENT.finditer(text):
            first, last = (text[:at].count("\n") for at in match.span())
            within.update(range(first, last + 1))
            if not text[:match.start()] or text[match.start() - 1] == "\n":
                ends.add(last)
        code = blank(text)
        for match in declared.finditer(code):
            first, last = (code[:at].count("\n") for at in match.span())
            line = first - 1
            while line >= 0 and line not in ends and (lines[line].strip() or line in within):
                line -= 1
            if line in ends or within & set(range(first, last + 1)):
                continue
            if match.group(1).endswith("_free") and "," not in match.group(2):
                continue
            result.append("%s:%d: %s()" % (path, first + 1, match.group(1)))
    return result


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    found, fenced = [], False
    with open(path, encoding="utf-8") as file:
        for line in file:
            fenced ^= line.startswith("```")
            heading = None if fenced else re.match(r"#+ (.*)", line)
            if heading:
                text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.group(1)).strip().lower()
                name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
                found.append(name if name not in found else "%s-%d" % (name, found.count(name)))
    return found


def broken_links(pages):
    """Relative links of pages that lead to no file, or to no heading of it; and how many were
    followed."""
    result, count = [], 0
    for page in pages:
        with open(os.path.join(ROOT, page), encoding="utf-8") as file:
            text = file.read()
        for match in re.finditer(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = match.group(1).partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            count += 1
            there = os.path.normpath(os.path.join(ROOT, os.path.dirname(page),
                                                  path)) if path else os.path.join(ROOT, page)
            if not os.path.exists(there) or (anchor and there.endswith(".md")
                                             and anchor not in anchors(there)):
                result.append("%s:%d: %s"
                              % (page, text[:match.start()].count("\n") + 1, match.group(1)))
    return result, count


def named_in_pages(pages, files):
    """Files and functions that pages name in backquotes and that are nowhere. A part in capitals
    stands for any name."""
    known = set()
    for text in list(files.values()) + list(scripts().values()):
        known |= set(re.findall(r"\w+", text))
    result = []
    for page in pages:
        with open(os.path.join(ROOT, page), encoding="utf-8") as file:
            text = file.read()
        for match in re.finditer(r"`([^`\n]+)`", text):
            line = text[:match.start()].count("\n") + 1
            for name in re.findall(r"(?<![\w/.<-])((?:[a-z_]+/)+[\w.-]+\.(?:c|h|cu|sh|py|md))\b",
                                   match.group(1)):
                if name.split("/")[0] in FLOOR and not re.search("[A-Z]{2}", name) \
                        and not os.path.exists(os.path.join(ROOT, name)):
                    result.append("%s:%d: %s" % (page, line, name))
            for name in re.findall(r"\b([a-z]\w+)\(\)", match.group(1)):
                if name not in known:
                    result.append("%s:%d: %s()" % (page, line, name))
    return result


def by_the_wall(files):
    """Timed waits by a clock that may be set: CLOCK_REALTIME, or a condition with the clock it has
    by itself."""
    result = []
    for path, text in files.items():
        code = blank(text)
        for word in ("CLOCK_REALTIME", "sem_timedwait", "pthread_mutex_timedlock", "cnd_timedwait",
                     "mtx_timedlock"):
            if re.search(r"\b%s\b" % word, code):
                result.append("%s: %s" % (path, word))
        for name in re.findall(r"pthread_cond_timedwait\(&(?:\w+->|\w+\.)?(\w+)", code):
            if not re.search(r"clock_init_condition\(&(?:\w+->|\w+\.)?%s\)" % name, code):
                result.append("%s: %s is waited for, but not of clock_init_condition()"
                              % (path, name))
    return result


def scripts():
    """Paths of all Python and shell files, the Makefile's and those of C, as {path: text}."""
    found = {}
    for at, folders, names in os.walk(ROOT):
        folders[:] = [name for name in sorted(folders)
                      if not name.startswith((".", "build")) and name not in ("golden", "fixtures",
                                                                              "shared")]
        for name in sorted(names):
            if name.endswith((".c", ".h", ".cu", ".cpp", ".py", ".sh")) or name == "Makefile":
                with open(os.path.join(at, name), encoding="utf-8") as file:
                    found[os.path.relpath(os.path.join(at, name), ROOT)] = file.read()
    return found


def too_wide(_):
    """Lines of more columns than fit two files side by side. In a shell script here-documents and
    longer text in quotes may have more: a line break would change what they say."""
    result = []
    for path, text in scripts().items():
        if path.endswith(".sh"):
            text = re.sub(r"<<-?\s*(['\"]?)(\w+)\1[^\n]*\n.*?\n\t*\2(?=\n|$)",
                          lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > COLUMNS and not (path.endswith(".sh") and QUOTED.search(line)):
                result.append("%s:%d: %d columns" % (path, number, len(line)))
    return result


def compiles(headers, folder):
    """What the compiler says of one file that includes the headers in this order; "" when nothing.
    """
    path = os.path.join(folder, "all.c")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines('#include "%s"\n' % header for header in headers)
    flags = ["-std=c17", "-D_GNU_SOURCE", "-I.", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    for package in ("jansson",):
        run = subprocess.run(["pkg-config", "--cflags", package], capture_output=True, text=True,
                             check=False)
        flags += run.stdout.split()
    run = subprocess.run([os.environ.get("CC", "cc")] + flags + [path], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


def print_counts():
    """Numbers of the sources without tests and benches, a line each."""
    files = {path: text for path, text in sources().items()
             if not path.startswith(("tests/", "bench/"))}
    units, types, lengths = {}, set(), []
    for path, text in files.items():
        units.setdefault(os.path.dirname(path), set()).add(unit(path))
        types |= types_defined(text)
        lengths += [lines for lines, _ in functions(text)]
    print("folders with sources: %d" % len(units))
    print("files of C and CUDA, lines: %d, %d"
          % (len(files), sum(text.count("\n") for text in files.values())))
    print("type names, defined twice: %d, %d" % (len(types), len(twice(files))))
    print("circles between files, but through registries: %d" % len(in_circles(files)))
    print("functions, longest: %d, %d" % (len(lengths), max(lengths)))
    print("functions over 60 lines: %d" % sum(lines > 60 for lines in lengths))
    print("pairs of files in the largest folder: %d" % max(map(len, units.values())))
    return 0


def main():
    if sys.argv[1:] == ["--count"]:
        return print_counts()
    files = sources()
    tap.ok(len(files) > 100, "the sources are found", "%d files below %s" % (len(files), ROOT))
    for rule, name in ((twice, "a type name stands for one thing"), (too_high, "nothing is "
                                                                     "included from a floor above"),
                       (named_in_vain, "comments name what exists"), (in_circles,
                                                                      "no circles between files"),
                       (crowded, "no folder of more than %d files" % FILES_MOST),
                       (too_long, "no function of more than %d lines" % LINES_MOST),
                       (unsaid, "no static function of more than %d lines without its contract"
                        % LINES_UNSAID),
                       (undescribed, "no function of a header without a comment"),
                       (by_the_wall, "nothing waits by the wall's clock"),
                       (too_wide, "no line of more than %d columns" % COLUMNS)):
        found = rule(files)
        tap.ok(not found, name, "\n".join(found))

    # What the rules on comments must find, so that one that finds nothing has looked.
    bad = {"a.h": """/* of_nobody(), base/of_nobody.h, Pair.third */
typedef struct { int a; } Pair;

typedef struct {
    int a;              /* says nothing of f() */
} Other;
int f(Other *other);

/* Of both. */
int g(void);
int h(void);

int i(void);    /* beside it */

void other_free(Other *other);
"""}
    found = named_in_vain(bad) + undescribed(bad)
    tap.ok([text.split(": ")[1] for text in found] ==
           ["of_nobody()", "base/of_nobody.h", "Pair.third", "f()"],
           "functions without a comment and names of nothing are found", "\n".join(found))

    pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"] + [
        "docs/" + name for name in sorted(os.listdir(os.path.join(ROOT, "docs")))
        if name.endswith(".md")]
    broken, count = broken_links(pages)
    tap.ok(count > 20 and not broken, "links between pages lead to files and headings",
           "%d links\n" % count + "\n".join(broken))
    vain = named_in_pages(pages, files)
    tap.ok(not vain, "pages name files and functions that exist", "\n".join(vain))

    # What needs a library that a build can do without stands apart.
    outside = re.compile(r"#include <(cuda|cudnn|cublas|nccl|mpi|oneapi|dnnl|glpk|jpeglib|cmocka)")
    headers = [path for path, text in sorted(files.items()) if path.endswith(".h")
               and not path.startswith(("tests/", "bench/", "kernels/cuda/", "kernels/cpu/",
                                        "executor/transport/nccl/"))
               and not outside.search(text)]
    with tempfile.TemporaryDirectory() as folder:
        for order, name in ((headers, "all headers together"), (headers[::-1],
                                                                "and in the opposite order")):
            said = compiles(order, folder)
            tap.ok(not said, name, said[:2000])
    return tap.done_testing()


if __name__ == "__main__":
    sys.exit(main())
