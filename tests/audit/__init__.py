"""What knows what: every field of the instance format and every option against all that reads them.

`table` holds the rows and their cells, `witnesses` a small instance for each row whose answer depends on it,
`test_audit` runs every cell.  ``python -m tests.audit`` prints the table.
"""
