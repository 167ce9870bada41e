"""The paper's experiment in the twin: arms x rounds x training seeds as a resumable grid, with statistics and a report."""
