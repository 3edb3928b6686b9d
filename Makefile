# The commands to know. `make run` and `make test` do all their set-up themselves on a fresh Debian.
TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
STATIC = LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH=$$(pkg-config --variable=libdir libseccomp) \
	RUSTFLAGS="-C target-feature=+crt-static"

.PHONY: build
build:
	$(STATIC) cargo build --release --target $(TARGET) --bin rrunc
