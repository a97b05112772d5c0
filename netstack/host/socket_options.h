// What every socket of the translator is set to. Options that only improve something (a larger
// buffer, an error queue) are not fatal where a kernel lacks them; the ones that correctness leans
// on are checked.
#pragma once

#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"
#include "netstack/base/time.h"

namespace cordon {

/// setsockopt() with an int. Whether it took.
bool set_option(int descriptor, int level, int name, int value);

/// A stream's socket: no delay, keep-alive after `keep_alive` of silence, and a linger of 0 so that
/// whatever ends the process reads as a reset.
void preset_stream(int descriptor, Duration keep_alive);
/// SO_LINGER {1, 0}: close() sends RST.
void set_reset_on_close(int descriptor, bool is_on);
/// A datagram socket: error queue, trains.
void preset_datagram(int descriptor, Family family, bool is_udp);

/// What a non-blocking connect() came to: EINPROGRESS while it is under way.
[[nodiscard]] IoStatus connect_result(int descriptor);

}  // namespace cordon
