# SPDX-License-Identifier: Apache-2.0
"""What a program had mapped and used over time.

The address space is replayed (`history`) from the events of a recording (`events`).
"""
