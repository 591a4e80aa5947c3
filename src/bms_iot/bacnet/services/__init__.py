"""The services (ASHRAE 135 clauses 13, 15 and 16): the parameters of requests and answers, each service group a module."""
