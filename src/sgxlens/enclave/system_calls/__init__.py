# SPDX-License-Identifier: Apache-2.0
"""System calls and other events of a recording, and what the rules of a runtime make of each.

Rows of the recording become calls (`recorded`), a replay tells what their descriptors and paths are
(`replay`) and who makes them (`callers`); their facts (`facts`) are the variables (`variables`) of
the expressions (`expressions`) in rules (`rules`), which give their effects (`effects`).
"""
