"""Names as people spell them: of classes, of list columns, of the parts of a split."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dassl.errors import UserError

#: What a column of a list is called, written as `header_key` writes it; the first found counts.
PATH_KEYS = (
    "path impath imagepath imgpath filepath image img file filename imagefile imagefilename "
    "imagename imgname fname images files imageid imgid relpath relativepath "
    "pfad bildpfad datei dateiname bilddatei bild chemin fichier ruta archivo imagen percorso "
    "路径 图像路径 图片路径 文件 文件名 图像 图片 图像名 图片名"
).split()
FOLDER_KEYS = "folder dir directory imagefolder imagedir filefolder foldername dirname".split()
LABEL_KEYS = (
    "classname class label labels labelname classlabel category diagnosis target dx classid "
    "labelid klasse diagnose kategorie classe catégorie clase etiqueta categoria "
    "类别 标签 分类"
).split()
_PEOPLE = (
    "patient patienten pat pt pid subject subj participant proband person woman case fall "
    "paciente paziente sujet 患者 病人 病例 受试者"
).split()
_OF_PEOPLE = "mrn medicalrecordnumber hospitalnumber hospitalno 病历号 病案号 住院号 门诊号".split()
_NUMBERS = "id no nr num number nummer nro name code key uid identifier kennung 编号 号".split()
_MEAN_MORE = ("pt", "fall", "pat")  # these alone need not be a patient
PATIENT_KEYS = [
    *(word + end for word in _PEOPLE for end in ("", *_NUMBERS) if end or word not in _MEAN_MORE),
    *_OF_PEOPLE,
    *(word + end for word in ("slide", "specimen") for end in ("", *_NUMBERS)),
]
PART_KEYS = "split partition datasplit splitname side set subset phase".split()
SURE_PART_KEYS = PART_KEYS[:4]  # the others may mean something else: left and right, arterial

_PART_WORDS = {
    "train": "train training trn tr trainings apprentissage entrainement entraînement "
    "entrenamiento addestramento treinamento treino 训练",
    "val": "val valid validation validating dev development va validierung validierungs "
    "validación validacion validazione validação 验证",
    "test": "test testing tst te prueba teste 测试",
}
_PARTS = {word: part for part, words in _PART_WORDS.items() for word in words.split()}
_SHORT = {"tr", "te", "va"}  # with a number they are others' words: TR1 to TR5 of TI-RADS
# These mean the test, unless another part is called a test and none a validation.
_SCORED = {"eval", "evaluation", "holdout", "heldout"}
_AROUND = (  # "Train_Images"
    *("images", "image", "data", "set", "split", "folder", "samples", "daten", "数据集", "集"),
)
_BLANK_CELLS = {"", "nan", "#n/a", "<na>"}
_UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"  # characters that nobody sees
# What stands between words: blanks, underscores, and every dash that a word processor writes.
_BETWEEN = re.compile(r"[\s_\-\u00b7\u2010-\u2015\u2043\u2212\ufe58\ufe63\uff0d]+")
# Cyrillic and Greek letters that look like Latin ones.
_LOOK_ALIKE = str.maketrans(
    "АВЕКМНОРСТУХІЅЈавеокрсухіѕјΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTYXISJaBeokpcyxisjABEZHIKMNOPTYXo"
)


def composed(text: Any) -> str:
    """A name with its letters composed as Unicode's NFC: one spelling for what looks equal."""
    return unicodedata.normalize("NFC", str(text))


def clean(text: Any) -> str:
    """A name composed, and without blanks and unseen characters around it."""
    text = composed(text)
    while text != (shorter := text.strip().strip(_UNSEEN)):
        text = shorter
    return text


def cell(value: Any) -> str:
    """What a cell of a list says; "" for the marks that programs write for nothing."""
    text = "" if value is None else clean(value)
    return "" if text.casefold() in _BLANK_CELLS else text


def header_key(text: Any) -> str:
    """A column's name without regard to capitals, blanks and signs: ``Patient (ID)``."""
    return re.sub(r"[\W_]+", "", clean(text)).casefold()


def is_number(text: str) -> bool:
    """Whether a label is a bare whole number, as "3" and "3.0" are."""
    return bool(re.fullmatch(r"\d+(\.0+)?", text))


def whole_number(text: str) -> str:
    """A number without the ``.0`` that a table with a gap gives it; other text as it is."""
    return text.partition(".")[0] if is_number(text) else text


def part_name(text: str) -> str:
    """The part of a split that a word means ("Testing" is test); the word itself if it is none."""
    word = re.sub(r"[\W_]+", "", clean(text)).casefold()
    for _ in range(2):
        if word in _PARTS:
            return _PARTS[word]
        if word in _SCORED:
            return "test"
        for around in _AROUND:
            inner = word.removesuffix(around)
            inner = word.removeprefix(around) if inner == word else inner
            if inner != word and (inner in _PARTS or inner in _SCORED):
                word = inner
                break
    return clean(text).lower()


def parts_of(words: Iterable[str]) -> dict[str, str]:
    """The part of each word that means one, seen together: where there is a test and no
    validation, "eval" is the validation."""
    words = list(words)
    parts = {word: part for word in words if (part := part_name(word)) in _PART_WORDS}
    named = {*parts.values()}
    for word in words:  # "01_train"; "test2" only where nothing is called "test"
        bare = re.sub(r"^[\d\W_]+|[\d\W_]+$", "", word)
        part = "" if bare.casefold() in _SHORT else part_name(bare)
        if word not in parts and part in _PART_WORDS and part not in named:
            parts[word] = part
    scored = [w for w in parts if re.sub(r"[\W_]+", "", w).casefold() in _SCORED]
    others = {part for word, part in parts.items() if word not in scored}
    if "test" in others and "val" not in others:
        parts |= dict.fromkeys(scored, "val")
    return parts


def near_equal(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only in capitals, blanks, dashes or underscores, or in what
    nobody sees: characters without width, letters of another script that look the same."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        seen = unicodedata.normalize("NFKC", name).translate(dict.fromkeys(map(ord, _UNSEEN)))
        key = _BETWEEN.sub(" ", seen.translate(_LOOK_ALIKE)).strip().casefold()
        key = re.sub(r"(?<!\d) | (?!\d)", "", key)  # "P 12" is "P12", and "1-2" is not "12"
        groups[key].append(name)
    return [group for group in groups.values() if len(group) > 1]


def near_equal_numbers(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that are one number, or one word and number: ``P7`` and ``P007``."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        if found := re.fullmatch(r"(\D*)0*?([1-9]\d*|0)", name):
            groups[found[1], found[2]].append(name)
    return [group for group in groups.values() if len(group) > 1]


def several_labels(names: Iterable[str]) -> list[str]:
    """Names that are several of the others, as ``a;b`` is beside ``a`` and ``b``."""
    known = set(names)
    parts = {name: [p.strip() for p in re.split(r"[;,|/+&]", name)] for name in known}
    return sorted(name for name, of in parts.items() if len(of) > 1 and known.issuperset(of))


def quoted(names: Iterable[str]) -> str:
    """``"a", "b" and "c"``."""
    words = [f'"{name}"' for name in names]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def class_map_of(options: Mapping[Any, Any]) -> dict[str, str]:
    """``DATASET.CLASS_MAP`` as names; "" alone leaves a class out.

    Raises:
        UserError: a value that yaml reads as nothing or as a truth value.
    """
    names: dict[str, str] = {}
    for key, value in options.items():
        for what, thing in (("maps", key), ("maps to", value)):
            if thing is None or isinstance(thing, bool):
                raise UserError(
                    f"DATASET.CLASS_MAP {what} {thing!r} (at {key!r}), as yaml reads no, yes, on, "
                    'off, null and ~; write the name in quotes, or "" to leave a class out'
                )
        names[clean(key)] = clean(value)
    return names


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8, which every file that names it is written in."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def distinct_names(paths: Iterable[str | Path]) -> dict[str, str]:
    """Path -> a name for what is written about the file: its own without the ending, with its
    folder's before it where two are alike, and a number where these are alike too."""
    found: dict[str, str] = {}
    files = [Path(path) for path in paths]
    stems = Counter(file.stem for file in files)
    taken: Counter[str] = Counter()
    for file in files:
        name = file.stem if stems[file.stem] == 1 else f"{file.parent.name}-{file.stem}"
        taken[name] += 1
        found[file.as_posix()] = name if taken[name] == 1 else f"{name}-{taken[name]}"
    return found
