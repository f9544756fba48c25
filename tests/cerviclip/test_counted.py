from collections import Counter

from cerviclip.counted import counted, most_of, some_of


def test_one_and_several():
    assert [counted(n, "patient") for n in (0, 1, 2000)] == [
        "0 patients",
        "1 patient",
        "2,000 patients",
    ]
    assert counted(1, "class") == "1 class" and counted(3, "class") == "3 classes"
    assert (
        counted(1, "image", "lie") == "1 image lies"
        and counted(2, "image", "lie") == "2 images lie"
    )
    assert [counted(1, "run", verb) for verb in ("are", "have")] == ["1 run is", "1 run has"]
    assert counted(2, "run", "are") == "2 runs are"


def test_some_are_named_and_the_others_counted():
    assert some_of(["a", "b"]) == "a, b" and some_of([]) == ""
    assert some_of(list("abcdefg")) == "a, b, c, d and 3 more"


def test_the_largest_numbers_come_first_and_equal_ones_by_name():
    counts = Counter({".txt": 1, ".dcm": 2, ".heic": 1})
    assert most_of(counts) == "2 .dcm, 1 .heic, 1 .txt"
    assert most_of(counts, 1) == "2 .dcm" and most_of(Counter()) == ""
