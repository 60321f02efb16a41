"""One line a check: run.sh counts them."""


def check(name, wanted, got):
    if got == wanted and type(got) is type(wanted):
        print(f"ok {name}")
    else:
        print(f"FAILED {name}: wanted {wanted!r}, got {got!r}")
