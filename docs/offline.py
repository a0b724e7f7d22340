"""Prints a template for `dvc plots show` whose scripts stand in the page: `make plots`."""

from argparse import ArgumentParser

from vl_convert import javascript_bundle

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Plots</title>
<script>(() => {{{bundle}}})()</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def main() -> None:
    ArgumentParser(description=__doc__).parse_args()
    bundle = javascript_bundle("window.vegaEmbed = vegaEmbed;")
    print(PAGE.format(bundle=bundle))


if __name__ == "__main__":
    main()
