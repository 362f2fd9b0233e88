"""Generation: structures written token by token from spectra, under the constraint of the formula."""
