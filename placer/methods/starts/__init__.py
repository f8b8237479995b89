"""Plans and answers without a search: what cheap rules find, and instances without times."""
