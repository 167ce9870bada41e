"""Make the demonstrations and the warm-up policy that `make demo` starts from (about 10 minutes on two cores)."""

from agents.cli.demo import make_first_light

if __name__ == "__main__":
    make_first_light()
