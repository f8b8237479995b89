"""Count the code blocks of README.md and docs/, and list those that no test runs."""

from tests.docs.blocks import RUN, blocks, pages


def main() -> None:
    """Print the counts and the reasons."""
    code = [b for page in pages() for b in blocks(page) if b.language in RUN or b.file]
    run = [b for b in code if b.runs]
    quick = [b for b in run if not b.full]
    print(f"{len(pages())} pages, {len(code)} blocks of code: {len(run)} run, {len(quick)} of them always")
    for block in code:
        if block.why_not:
            print(f"{block.where}: not run: {block.why_not}")


if __name__ == "__main__":
    main()
