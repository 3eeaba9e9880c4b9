"""Running a job's tasks on the workers of a Dask scheduler.

Dask connects the machines, schedules the tasks, and runs the task of a lost worker again on another one. This package
adds a check of each worker's environment, messages and progress for people, and `executor` says what it adds where
Dask's scheduling falls short.
"""
