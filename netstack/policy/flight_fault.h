// Why a flow that was allowed by a name ended with its first flight: what the guest's first octets
// said about whom they were for (names/first_flight.h judges them).
#pragma once

#include <cstdint>
#include <string_view>

namespace cordon {

enum class FlightFault : std::uint8_t {
  kNone,
  kOtherName,       // names somebody else
  kNoName,          // names nobody, and has to
  kEncryptedHello,  // has an encrypted ClientHello
  kNotTls,          // is not TLS, and has to be
  kBadHello,        // not a ClientHello that has one meaning
  kBadRequest,      // not an HTTP request that has one meaning
  kTunnel,          // asks for one, or speaks HTTP/2 without one
  kTooLong,         // not to be understood from its first 16 KiB
  kPaused,          // stood still before it could be understood
  kEnded,           // ended before it could be understood
};
/// "other-name", "not-tls", …: one word for events.
[[nodiscard]] std::string_view flight_fault_name(FlightFault fault);
/// A clause for a person: "names another host than the connection was opened to".
[[nodiscard]] std::string_view describe(FlightFault fault);

}  // namespace cordon
