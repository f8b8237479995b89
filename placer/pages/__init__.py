"""Pages for people: one self-contained HTML file per plan or batch, that opens without a network."""
