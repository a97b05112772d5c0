#include "netstack/names/client_hello.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "netstack/base/text.h"
#include "netstack/names/host_name.h"

namespace cordon {
namespace {

constexpr std::uint8_t kMajorVersion = 3;          // of SSL 3.0 and every TLS
constexpr std::size_t kLongestFragment = 1 << 14;  // RFC 8446 section 5.1
constexpr std::size_t kMessageHeader = 4;          // type and a length of 24 bits
constexpr std::uint8_t kClientHelloType = 1;
constexpr std::uint8_t kServerHelloType = 2;
constexpr std::uint8_t kHostNameType = 0;

constexpr std::uint16_t kServerName = 0;
constexpr std::uint16_t kEarlyData = 42;
constexpr std::uint16_t kEncryptedServerName = 0xffce;  // ESNI, drafts 1 to 6
constexpr std::uint16_t kEncryptedHelloFirst = 0xfe08;  // ECH, draft 8
constexpr std::uint16_t kEncryptedHelloLast = 0xfe0d;   // draft 13 and RFC 9849

// RFC 8446 section 4.1.3: SHA-256 of "HelloRetryRequest".
constexpr std::array<std::uint8_t, 32> kRetryRandom = {
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};

// Takes fields off the front. Once something is missing everything reads as 0 and empty; is_ok()
// tells at the end.
class Reader {
 public:
  explicit Reader(Bytes bytes) : rest_(bytes) {}

  Bytes take(std::size_t size) {
    if (size > rest_.size()) is_ok_ = false;
    if (!is_ok_) return {};
    const Bytes taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  std::uint32_t number(std::size_t octets) {
    std::uint32_t value = 0;
    for (const std::uint8_t octet : take(octets)) value = (value << 8) | octet;
    return value;
  }
  /// A vector of RFC 8446 section 3.4: its length in so many octets, and the rest.
  Bytes vector(std::size_t length_octets) { return take(number(length_octets)); }

  [[nodiscard]] bool is_ok() const { return is_ok_; }
  [[nodiscard]] bool is_at_end() const { return is_ok_ && rest_.empty(); }
  [[nodiscard]] bool has_more() const { return is_ok_ && !rest_.empty(); }

 private:
  Bytes rest_;
  bool is_ok_ = true;
};

// The handshake octets at the front of a stream, put together from its records.
class Handshake {
 public:
  enum class State : std::uint8_t { kWhole, kIncomplete, kMalformed };

  /// Gathers the first message, header included, up to `most` of its octets.
  State gather(Bytes stream, std::size_t most) {
    while (!has(most)) {
      const std::optional<TlsRecord> record = first_tls_record(stream.subspan(consumed_));
      if (!record) return State::kIncomplete;
      const std::size_t size = record->octets - kTlsRecordHeader;
      const bool is_handshake =
          record->content_type == tls_content::kHandshake && stream[consumed_ + 1] == kMajorVersion;
      // An empty fragment is forbidden, and nothing may come between two fragments.
      if (!is_handshake || size == 0 || size > kLongestFragment) return State::kMalformed;
      const Bytes fragment = stream.subspan(consumed_ + kTlsRecordHeader);
      const std::size_t here = std::min(size, fragment.size());
      // One that does not fit is longer than anybody looks at; has() is told by `size_`.
      const std::size_t kept = std::min(here, buffer_.size() - size_);
      std::ranges::copy(fragment.first(kept), buffer_.begin() + static_cast<std::ptrdiff_t>(size_));
      size_ += kept;
      if (has(most)) break;
      if (here < size || kept < here) return State::kIncomplete;
      consumed_ += record->octets;
    }
    return State::kWhole;
  }
  /// The octets up to the end of the record that the last gathered octet was in.
  [[nodiscard]] std::size_t octets(Bytes stream) const {
    return consumed_ + first_tls_record(stream.subspan(consumed_))->octets;
  }
  [[nodiscard]] Bytes gathered() const { return Bytes(buffer_).first(size_); }
  [[nodiscard]] bool has_header() const { return size_ >= kMessageHeader; }
  [[nodiscard]] std::uint8_t type() const { return buffer_[0]; }
  /// With its header.
  [[nodiscard]] std::size_t message_size() const {
    return kMessageHeader +
           (std::size_t{buffer_[1]} << 16 | std::size_t{buffer_[2]} << 8 | std::size_t{buffer_[3]});
  }

 private:
  [[nodiscard]] bool has(std::size_t most) const {
    return size_ >= most || (has_header() && size_ >= message_size());
  }

  std::array<std::uint8_t, kLongestFirstFlight> buffer_;  // NOLINT: only what was gathered is read
  std::size_t size_ = 0;
  std::size_t consumed_ = 0;  // whole records of the stream
};

std::expected<DnsName, HelloFault> read_server_name(Bytes extension) {
  Reader reader(extension);
  Reader names(reader.vector(2));
  const std::uint32_t type = names.number(1);
  const Bytes name = names.vector(2);
  if (!reader.is_at_end() || !names.is_at_end() || type != kHostNameType) {
    return std::unexpected(HelloFault::kBadName);
  }
  const std::optional<DnsName> parsed = parse_host_name(as_text(name));
  if (!parsed) return std::unexpected(HelloFault::kBadName);
  return *parsed;
}

std::expected<ClientHello, HelloFault> read_hello(Bytes message) {
  Reader hello(message.subspan(kMessageHeader));
  (void)hello.take(2 + 32);  // legacy_version, random
  (void)hello.vector(1);     // legacy_session_id
  (void)hello.vector(2);     // cipher_suites
  (void)hello.vector(1);     // legacy_compression_methods
  ClientHello found;
  // Before TLS 1.3 a hello without extensions may end here (RFC 5246 section 7.4.1.2).
  if (hello.is_at_end()) return found;
  Reader extensions(hello.vector(2));
  if (!hello.is_at_end()) return std::unexpected(HelloFault::kMalformed);
  while (extensions.has_more()) {
    const std::uint32_t type = extensions.number(2);
    const Bytes data = extensions.vector(2);
    if (!extensions.is_ok()) break;
    if (type == kServerName) {
      const std::expected<DnsName, HelloFault> name = read_server_name(data);
      if (!name) return std::unexpected(name.error());
      if (found.name) return std::unexpected(HelloFault::kBadName);
      found.name = *name;
    }
    const bool is_encrypted_hello = type >= kEncryptedHelloFirst && type <= kEncryptedHelloLast;
    if (is_encrypted_hello || type == kEncryptedServerName) found.has_encrypted_hello = true;
    if (type == kEarlyData) found.has_early_data = true;
  }
  if (!extensions.is_at_end()) return std::unexpected(HelloFault::kMalformed);
  return found;
}

}  // namespace

std::optional<TlsRecord> first_tls_record(Bytes stream) {
  if (stream.size() < kTlsRecordHeader) return std::nullopt;
  return TlsRecord{.content_type = stream[0],
                   .octets = kTlsRecordHeader + (std::size_t{stream[3]} << 8) + stream[4]};
}

std::expected<ClientHello, HelloFault> parse_client_hello(Bytes stream) {
  if (stream.empty()) return std::unexpected(HelloFault::kIncomplete);
  if (stream[0] != tls_content::kHandshake) return std::unexpected(HelloFault::kNotTls);
  if (stream.size() > 1 && stream[1] != kMajorVersion) return std::unexpected(HelloFault::kNotTls);
  const bool is_full = stream.size() >= kLongestFirstFlight;
  const HelloFault unfinished = is_full ? HelloFault::kTooLong : HelloFault::kIncomplete;
  stream = stream.first(std::min(stream.size(), kLongestFirstFlight));
  Handshake handshake;
  const Handshake::State state = handshake.gather(stream, kLongestFirstFlight);
  if (state == Handshake::State::kMalformed) return std::unexpected(HelloFault::kMalformed);
  if (handshake.has_header() && handshake.type() != kClientHelloType) {
    return std::unexpected(HelloFault::kMalformed);
  }
  // Said as soon as it is known: waiting for the rest would be for nothing.
  if (handshake.has_header() && handshake.message_size() > kLongestFirstFlight - kTlsRecordHeader) {
    return std::unexpected(HelloFault::kTooLong);
  }
  if (state == Handshake::State::kIncomplete) return std::unexpected(unfinished);
  // A message behind the hello in its record would be one that nobody has looked at; and the record
  // is whole exactly where the hello ends in it.
  const std::size_t octets = handshake.octets(stream);
  if (octets > stream.size() || handshake.gathered().size() != handshake.message_size()) {
    return std::unexpected(HelloFault::kMalformed);
  }
  std::expected<ClientHello, HelloFault> hello = read_hello(handshake.gathered());
  if (hello) hello->octets = octets;
  return hello;
}

ServerAnswer read_server_answer(Bytes stream) {
  // Header, legacy_version and random tell.
  constexpr std::size_t kEnough = kMessageHeader + 2 + kRetryRandom.size();
  if (stream.empty()) return ServerAnswer::kIncomplete;
  if (stream[0] != tls_content::kHandshake) return ServerAnswer::kOther;
  if (stream.size() > 1 && stream[1] != kMajorVersion) return ServerAnswer::kOther;
  Handshake handshake;
  const Handshake::State state = handshake.gather(stream, kEnough);
  if (handshake.has_header() && handshake.type() != kServerHelloType) return ServerAnswer::kOther;
  if (state == Handshake::State::kMalformed) return ServerAnswer::kOther;
  if (state == Handshake::State::kIncomplete) {
    return stream.size() < kLongestFirstFlight ? ServerAnswer::kIncomplete : ServerAnswer::kOther;
  }
  if (handshake.gathered().size() < kEnough) return ServerAnswer::kOther;
  const Bytes random = handshake.gathered().subspan(kMessageHeader + 2, kRetryRandom.size());
  return std::ranges::equal(random, kRetryRandom) ? ServerAnswer::kRetry : ServerAnswer::kOther;
}

}  // namespace cordon
