// The beginning of a TLS stream: the ClientHello, as far as it says whom the client means
// (RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 9849 for encrypted_client_hello). Pure.
//
// The hello may be spread over any number of records, each of any size, and is read only once it is
// there as a whole. Everything is read that has a length; what is not asked for is skipped and so
// GREASE (RFC 8701) passes by itself. A hello that two readers could take for two different names
// is refused: a second server_name extension, a list of more than one name, octets left over
// anywhere.
//
// Also here: whether a server's first message is a HelloRetryRequest, after which the client says
// its hello once more, and could say another one.
//
// Not done here: anything that is encrypted; SSL 2.0, whose hello has no name (it is no TLS to us).
#pragma once

#include <cstdint>
#include <expected>
#include <optional>

#include "netstack/base/bytes.h"
#include "netstack/wire/dns_name.h"

namespace cordon {

/// RFC 8446 section 5.1; a record's header has the content type, a version and a length.
inline constexpr std::size_t kTlsRecordHeader = 5;
namespace tls_content {
inline constexpr std::uint8_t kChangeCipherSpec = 20;
inline constexpr std::uint8_t kAlert = 21;
inline constexpr std::uint8_t kHandshake = 22;
inline constexpr std::uint8_t kApplicationData = 23;
}  // namespace tls_content

/// The longest beginning of a stream that is looked at, record headers included. A hello with
/// post-quantum key shares and a full set of extensions is a quarter of it.
inline constexpr std::size_t kLongestFirstFlight = std::size_t{16} * 1024;

struct ClientHello {
  std::size_t octets = 0;            // of the stream, up to the end of the hello's last record
  std::optional<DnsName> name;       // server_name
  bool has_encrypted_hello = false;  // encrypted_client_hello, or one of its drafts, or ESNI
  bool has_early_data = false;       // 0-RTT records follow at once
};

enum class HelloFault : std::uint8_t {
  kIncomplete,  // a hello so far; there is more to come
  kNotTls,      // no TLS stream begins like this
  kMalformed,   // a TLS stream, and no ClientHello that can be read in one way only
  kBadName,     // server_name holds none, several, or something that is no name
  kTooLong,     // longer than kLongestFirstFlight
};

/// Reads the hello at the front of a stream.
[[nodiscard]] std::expected<ClientHello, HelloFault> parse_client_hello(Bytes stream);

/// The first record of a stream: its content type and its octets with the header, or nullopt where
/// the header is not there yet.
struct TlsRecord {
  std::uint8_t content_type = 0;
  std::size_t octets = 0;
};
[[nodiscard]] std::optional<TlsRecord> first_tls_record(Bytes stream);

enum class ServerAnswer : std::uint8_t { kIncomplete, kRetry, kOther };

/// What a server's stream begins with: a HelloRetryRequest, or anything else.
[[nodiscard]] ServerAnswer read_server_answer(Bytes stream);

}  // namespace cordon
