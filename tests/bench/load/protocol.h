// What the load programs and their server say to each other. One TCP port and one UDP port serve
// everything, so that a tool needs to publish two ports only: the first octet of a connection or
// of a datagram says what is wanted.
//
//   TCP  S session   the server reads and counts everything after it (sink)
//        G           the server writes until the peer goes (source)
//        C …         one request of kRequestOctets, one answer of as many, and the server closes
//        E           everything after it comes back (echo)
//        R session   the session's counters come back; may be asked again on the same connection
//   UDP  S session   counted
//        E …         comes back
//        B Begin     the server sends to whom that came from, as Begin says
//        D session   one of those
//
// Sessions are random numbers; the server keeps the counters of the last kSessions. All fields
// are in the machine's own byte order: both ends run on one machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cordon::bench {

inline constexpr char kSink = 'S';
inline constexpr char kSource = 'G';
inline constexpr char kConnection = 'C';
inline constexpr char kEcho = 'E';
inline constexpr char kReport = 'R';
inline constexpr char kBegin = 'B';
inline constexpr char kData = 'D';

inline constexpr std::size_t kRequestOctets = 64;
inline constexpr std::size_t kSessions = 65536;
inline constexpr std::size_t kBufferOctets = std::size_t{256} * 1024;

/// `S session`, `R session` and the start of a datagram of data.
struct [[gnu::packed]] SessionHead {
  char kind = 0;
  std::uint32_t session = 0;
};

struct [[gnu::packed]] Begin {
  char kind = kBegin;
  std::uint32_t session = 0;
  std::uint32_t octets = 0;    // of one datagram
  std::uint32_t segments = 0;  // of one UDP_SEGMENT train; 1: none
  double rate = 0;             // bits a second; 0: as fast as it goes
  double seconds = 0;
};

struct [[gnu::packed]] Report {
  std::uint64_t octets = 0;     // received by the server
  std::uint64_t datagrams = 0;  // received by the server
  std::uint64_t sent = 0;       // datagrams sent by the server
  std::int64_t now = 0;         // the server's clock, nanoseconds
};

}  // namespace cordon::bench
