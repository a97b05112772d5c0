#include "netstack/policy/flight_fault.h"

namespace cordon {

std::string_view flight_fault_name(FlightFault fault) {
  switch (fault) {
    case FlightFault::kNone:
      return "none";
    case FlightFault::kOtherName:
      return "other-name";
    case FlightFault::kNoName:
      return "no-name";
    case FlightFault::kEncryptedHello:
      return "encrypted-hello";
    case FlightFault::kNotTls:
      return "not-tls";
    case FlightFault::kBadHello:
      return "bad-hello";
    case FlightFault::kBadRequest:
      return "bad-request";
    case FlightFault::kTunnel:
      return "tunnel";
    case FlightFault::kTooLong:
      return "too-long";
    case FlightFault::kPaused:
      return "paused";
    case FlightFault::kEnded:
      return "ended";
  }
  return "unknown";
}

std::string_view describe(FlightFault fault) {
  switch (fault) {
    case FlightFault::kNone:
      return "is allowed";
    case FlightFault::kOtherName:
      return "names another host than the connection was opened to";
    case FlightFault::kNoName:
      return "names no host, and the address alone does not tell";
    case FlightFault::kEncryptedHello:
      return "hides the host's name (ECH)";
    case FlightFault::kNotTls:
      return "is not TLS, which the rule needs";
    case FlightFault::kBadHello:
      return "is not a TLS ClientHello with one meaning";
    case FlightFault::kBadRequest:
      return "is not an HTTP request with one meaning";
    case FlightFault::kTunnel:
      return "asks for a tunnel, or speaks HTTP/2 without TLS";
    case FlightFault::kTooLong:
      return "cannot be understood from its first 16 KiB";
    case FlightFault::kPaused:
      return "stood still before it could be understood";
    case FlightFault::kEnded:
      return "ended before it could be understood";
  }
  return "is not allowed";
}

}  // namespace cordon
