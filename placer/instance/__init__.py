"""What is planned: graph and costs, cluster, rules, and what a request adds to them; no plans."""
