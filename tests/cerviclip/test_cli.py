"""The command ``cerviclip``: its words, their help, and what a shell completes."""

import os
import subprocess
import sys

import pytest

from cerviclip import cli
from dassl._version import __version__

HEAVY = {"torch", "torchvision", "pandas", "sklearn", "matplotlib", "numpy", "scipy"}


def run(*argv, env=None):
    """The command in a process of its own; its output and the names of the modules it imported."""
    code = (
        "import sys; from cerviclip.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "print('MODULES', *sys.modules); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True, env=env
    )
    text, _, modules = done.stdout.partition("MODULES")
    return text, set(modules.split())


@pytest.mark.parametrize(
    "argv, word",
    [(["--help"], "segment"), ([], "segment"), (["--version"], __version__), (["list"], "SAVLT")],
)
def test_help_version_and_list_import_nothing_heavy(argv, word):
    text, modules = run(*argv)
    assert word in text and not HEAVY & modules


def test_import_cerviclip_is_light():
    code = "import cerviclip, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_help_names_every_word_with_a_line(capsys):
    assert cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for word, (_, text) in cli.COMMANDS.items():
        assert any(line.split()[:1] == [word] and line.endswith(text) for line in lines)


@pytest.mark.parametrize("word", cli.COMMANDS)
def test_every_word_explains_itself_under_its_own_name(word, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([word, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: cerviclip {word} ")
    assert "python train.py" not in text and "run_shell.py" not in text


@pytest.mark.parametrize("word", [w for w in cli.COMMANDS if w != "list"])
def test_what_is_wrong_with_a_flag_names_the_command_that_was_typed(word, capsys):
    assert cli.main([word, "--no-such-flag"]) == 2
    error = capsys.readouterr().err
    assert f"(cerviclip {word} --help lists the flags)" in error and error.count("\n") == 1


@pytest.mark.parametrize("script, word", [("train.py", "train"), ("tools/compare.py", "compare")])
def test_a_script_explains_itself_as_it_is_typed(repo_dir, script, word):
    done = subprocess.run(
        [sys.executable, str(repo_dir / script), "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"usage: python {script} ")
    assert word in cli.COMMANDS


def test_an_unknown_word_is_one_line_with_the_nearest(capsys):
    assert cli.main(["tabels"]) == 2
    error = capsys.readouterr().err
    assert "did you mean 'tables'?" in error and error.count("\n") == 1


def test_list_shows_plugins(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dassl.engine import TRAINER_REGISTRY\n\n"
        "@TRAINER_REGISTRY.register()\nclass MineAlone:\n    '''A method of mine.'''\n"
    )
    assert cli.main(["list", "--plugin", str(path)]) == 0
    text = capsys.readouterr().out
    assert "MineAlone" in text and "A method of mine." in text
    assert "PhantomOCT" in text and "ViT-B/16" in text


def test_a_reader_that_leaves_early_is_no_error():
    """``cerviclip list | head``."""
    code = "import sys; from cerviclip.cli import main; sys.exit(main(['list']))"
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()  # it is gone before the first line
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=reader.stdin, stderr=subprocess.PIPE, text=True
    )
    reader.stdin.close()
    assert (done.returncode, done.stderr) == (141, "")


# -- completion -----------------------------------------------------------------------------------


def complete(tmp_path, line, *env):
    """What the shell would offer at the end of ``line`` (argcomplete's protocol)."""
    out = tmp_path / "completions"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(out),
        "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'><=;|&(:",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line.encode())),
    }
    out.write_text("")
    code = "import sys; from cerviclip.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        capture_output=True, text=True, check=True, env=os.environ | asked,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "torch" not in imported
    return [word.strip() for word in out.read_text().split("\n")]


@pytest.mark.parametrize(
    "line, there, absent",
    [
        ("cerviclip ", {"train", "sweep", "compare"}, {"CoOp"}),
        ("cerviclip ta", {"tables"}, {"train"}),
        ("cerviclip train --tra", {"--trainer", "--transforms"}, {"--dataset"}),
        ("cerviclip train --trainer ", {"CoOp", "SAVLT", "Vanilla"}, {"PhantomOCT"}),
        ("cerviclip train --trainer CoOp --dataset Ph", {"PhantomOCT"}, {"Herlev", "CoOp"}),
        ("cerviclip train --backbone ", {"ViT-B/16", "PhantomCLIP", "open_clip:"}, {"CoOp"}),
        ("cerviclip train --seed 1 OPTIM.LR", {"OPTIM.LR", "OPTIM.LR_SCHEDULER"}, {"SEED"}),
        ("cerviclip sweep --sweep ", {"demo", "savlt"}, {"CoOp"}),
        ("cerviclip sweep --trainers CoOp T", {"TipAdapter"}, {"CoOp"}),
        ("cerviclip sweep --external ", {"PhantomHuaxi"}, {"CoOp"}),
        ("cerviclip store ", {"ls", "rm", "verify"}, {"train"}),
        ("cerviclip tables --format ", {"md", "latex"}, {"train"}),
        ("cerviclip nonsense ", set(), {"train"}),
    ],
)
def test_a_shell_is_offered_words_flags_and_names(tmp_path, line, there, absent):
    offered = set(complete(tmp_path, line))
    assert there <= offered and not absent & offered


def test_names_of_a_plugin_are_offered_too(tmp_path):
    from run_fixtures import PLUGIN

    offered = complete(tmp_path, f"cerviclip train --plugin {PLUGIN} --trainer Zoo")
    assert "ZooLinear" in offered


def test_python_m_is_the_command(tmp_path):
    def ended(*argv):
        argv = [sys.executable, "-m", "cerviclip", *argv]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    assert ended("--version") == (0, f"cerviclip {__version__}\n", "")
    status, _, error = ended("train", "--shotz", "2")
    assert status == 2 and error.startswith("error: ") and error.count("\n") == 1
