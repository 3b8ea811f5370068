# The only build. `make` builds build/pgweir; see README for the other targets.
CC ?= cc
BUILD ?= build
PKGS = libevent libssl libcrypto libpq inih
WARN = -Wall -Wextra -Wconversion -Wshadow -Wswitch-enum -Wstrict-prototypes -Wmissing-prototypes \
       -Wvla -Wundef -Wformat=2 -Wno-sign-conversion $(WERROR)
OPT ?= -O2 -g -fno-omit-frame-pointer
HARDEN ?= -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
SAN ?=
CPPFLAGS += -D_GNU_SOURCE -I. -Iproxy $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS = -std=c11 $(OPT) $(HARDEN) $(SAN) $(WARN) -pthread $(EXTRA_CFLAGS)
LDFLAGS += -pie -Wl,-z,relro,-z,now $(SAN) -pthread
LDLIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null)

ROOMS = conf health pool proxy/wire proxy/io proxy/session proxy/console proxy
SRC = $(foreach d,$(ROOMS),$(sort $(wildcard $(d)/*.c)))
OBJ = $(SRC:%.c=$(BUILD)/%.o)
LIBOBJ = $(filter-out $(BUILD)/proxy/main.o,$(OBJ))

all: $(BUILD)/pgweir

$(BUILD)/pgweir: $(OBJ)
	$(CC) $(LDFLAGS) -o $@ $(OBJ) $(LDLIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJ:.o=.d)

clean:
	rm -rf build build-*

.PHONY: all clean
