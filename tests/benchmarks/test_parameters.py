"""Numbers of parameters of recipes."""

from benchmarks.parameters import count_parameters

from carvana.recipe import read_recipe


def test_parameters_of_the_network_and_of_its_refinement() -> None:
    assert count_parameters(read_recipe("fast")) == (1_943_924, 1_087_564)
    assert count_parameters(read_recipe("baseline")) == (31_031_745, 0)  # as in the blog post
