// What every socket of the translator is set to. Options that only improve something (a larger
// buffer, an error queue) are not fatal where a kernel lacks them; the ones that correctness leans
// on are checked.
#pragma once

#include <cstdint>

#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"
#include "netstack/base/time.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/seams/sockets.h"

namespace cordon {

/// setsockopt() with an int. Whether it took.
bool set_option(int descriptor, int level, int name, int value);

/// A stream's socket, fresh: no delay, and a linger of 0 so that whatever ends the process reads as
/// a reset. Every call here is one for each connection.
void preset_stream(int descriptor);
/// The same in the guest's namespace, with a larger receive buffer.
void preset_guest_stream(int descriptor);
/// Keep-alive after so much silence.
void set_keep_alive(int descriptor, Duration silence);
/// SO_LINGER {1, 0}: close() sends RST.
void set_reset_on_close(int descriptor, bool is_on);
enum class DatagramUse : std::uint8_t {
  kFlow,   // anything: trains, room for a burst
  kQuery,  // one question and its answer
  kPing,
};

/// The kernel finishes what is under way; the last FIN goes out here.
void close_in_good_order(UniqueFd socket);
/// A datagram socket: its error queue, and what its use asks for.
void preset_datagram(int descriptor, Family family, DatagramUse use);

/// What a non-blocking connect() came to, when `readiness` was told: EINPROGRESS while it is under
/// way.
[[nodiscard]] IoStatus connect_result(int descriptor, const Readiness& readiness);

}  // namespace cordon
