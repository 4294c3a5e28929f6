"""Runs npm in web/ with the Node that builds the page. Usage: npm.py run check"""

import sys

import build_web


def main() -> None:
    """Fetch the packages if need be, then run the command."""
    try:
        node = build_web.find_node()
        build_web.install_packages(node)
        build_web.run_npm(node, *sys.argv[1:])
    except build_web.BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
