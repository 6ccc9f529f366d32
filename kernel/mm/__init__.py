"""The pager: pages, windows, contexts and where they are kept."""
