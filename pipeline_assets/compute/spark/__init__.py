"""The kernel inside Spark: layers of many units, made by many machines, committed by one.

What belongs here: cutting the work into tasks, what a task does, and putting the results on record. What does
not: any transform (`kernel`), the rules of commit (`compute.bronze`, `compute.derive`), and how a job gets to
Spark (`databricks`, `job`).
"""
