"""make_digits.py [digits.csv.gz]: writes data/digits.csv.

The numbers are those of the test part of "Optical Recognition of Handwritten Digits"
(data/README.md), as scikit-learn ships them in sklearn/datasets/data/digits.csv.gz: without
an argument, that of the installed scikit-learn. A row there is 64 pixels, row by row, and the
label, all written as floating-point numbers; here they are whole numbers, under a header.
"""
import gzip
import pathlib
import sys


def source():
    if len(sys.argv) > 1:
        return pathlib.Path(sys.argv[1])
    import sklearn.datasets
    return pathlib.Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"


def main():
    rows = []
    for line in gzip.open(source(), "rt"):
        row = [int(float(word)) for word in line.split(",")]
        assert len(row) == 65 and all(0 <= pixel <= 16 for pixel in row[:64]) and 0 <= row[64] <= 9
        rows.append(row)
    assert len(rows) == 1797
    header = ",".join(f"p{i}" for i in range(64)) + ",label"
    text = "\n".join([header] + [",".join(map(str, row)) for row in rows]) + "\n"
    (pathlib.Path(__file__).parent / "digits.csv").write_text(text)


main()
