"""The command line, called as a function."""

from placer.cli import main


def call(capsys, *argv):
    """Exit code, standard output and standard error."""
    try:
        code = main([str(a) for a in argv])
    except SystemExit as exit_:
        code = exit_.code
    out, err = capsys.readouterr()
    return code, out, err
