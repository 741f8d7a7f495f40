# The three commands of this project, and what they are made of: `cargo xtask` shows the verbs behind them.

# Starts three Redis servers and nutcracker in front of them, until Ctrl-C; `make run DEMO_SECONDS=5` ends by itself.
run:
	@cargo xtask run $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

# Formatting, lints, all tests with real servers, the comparison with twemproxy 0.5, and the documentation.
test:
	@cargo xtask test

# Beside twemproxy 0.5 and others, into docs/performance; `make bench BENCH="--quick"` sees that it works.
bench:
	@cargo xtask bench $(BENCH)

.PHONY: run test bench
