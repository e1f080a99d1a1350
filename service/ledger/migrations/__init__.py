"""The ledger's schemas, one after another. They only add, from the first one on.

While pods are replaced one by one, and after a version was rolled back, processes of two versions are on
one database, whose schema is the newer one's. So a script adds tables, indexes, and columns that may be
NULL or have a default on the server; it drops, renames and narrows nothing, and gives nothing old another
meaning. What is to go is no longer used in one version, and dropped in a later one that says so.

A revision that is a number promises all that, and an older version works on it. Of any other name
(``7-narrowed``) it refuses to start.
"""
