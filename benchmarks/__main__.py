"""`python -m benchmarks [name …] [--record]`: run benchmarks and print their figures; --record writes them into docs/."""

import argparse
import importlib
import pkgutil

import benchmarks


def main() -> None:
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in ("__main__", "record")]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--record", action="store_true", help="write the figures into docs/")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    for name in arguments.names or names:
        importlib.import_module(f"benchmarks.{name}").main(record=arguments.record)


main()
