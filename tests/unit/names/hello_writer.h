// ClientHellos as clients send them, and as no client would: written field by field from RFC 8446
// section 4.1.2, with no code of the reader's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cordon::hello {

using Octets = std::vector<std::uint8_t>;

inline Octets operator+(Octets one, const Octets& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

inline Octets number(std::size_t value, std::size_t octets) {
  Octets out(octets);
  for (std::size_t i = octets; i > 0; --i, value >>= 8) out[i - 1] = value & 0xff;
  return out;
}

/// A vector with its length in front.
inline Octets sized(std::size_t length_octets, const Octets& content) {
  return number(content.size(), length_octets) + content;
}

inline Octets octets_of(std::string_view text) { return {text.begin(), text.end()}; }
inline std::string text_of(const Octets& octets) { return {octets.begin(), octets.end()}; }

inline Octets extension(std::uint16_t type, const Octets& data) {
  return number(type, 2) + sized(2, data);
}

inline Octets name_entry(std::string_view name, std::uint8_t type = 0) {
  return number(type, 1) + sized(2, octets_of(name));
}

inline Octets server_name(std::string_view name) {
  return extension(0, sized(2, name_entry(name)));
}

/// An encrypted_client_hello of the outer kind; its content is as good as random (RFC 9849).
inline Octets encrypted_hello() {
  return extension(
      0xfe0d, Octets{0, 0, 1, 0, 1, 7} + sized(2, Octets(32, 0xab)) + sized(2, Octets(180, 0xcd)));
}

/// key_share with a post-quantum group: 1,216 octets for one key (X25519MLKEM768).
inline Octets post_quantum_share() {
  return extension(51, sized(2, number(0x11ec, 2) + sized(2, Octets(1216, 0x5a))));
}

inline Octets early_data() { return extension(42, {}); }

inline Octets grease() { return extension(0x2a2a, {0}) + extension(0xfafa, {}); }

/// What a current client has beside the name.
inline Octets usual_extensions() {
  return extension(43, {4, 3, 4, 3, 3}) + extension(10, {0, 4, 0, 29, 0, 23}) +
         extension(13, {0, 4, 4, 3, 8, 4}) + extension(16, Octets{0, 3, 2} + octets_of("h2"));
}

/// A handshake message.
inline Octets message(std::uint8_t type, const Octets& body) {
  return number(type, 1) + sized(3, body);
}

inline Octets client_hello_with(const Octets& extensions) {
  const Octets ciphers = {0x0a, 0x0a, 0x13, 0x01, 0x13, 0x02, 0xc0, 0x2f};
  return message(1, Octets{3, 3} + Octets(32, 0x11) + sized(1, Octets(32, 0x22)) +
                        sized(2, ciphers) + sized(1, {0}) + sized(2, extensions));
}

inline Octets client_hello(std::string_view name) {
  return client_hello_with(server_name(name) + usual_extensions());
}

inline Octets record(std::uint8_t type, const Octets& content) {
  return Octets{type, 3, 1} + sized(2, content);
}

/// The message over records of at most `size` octets each.
inline Octets records(const Octets& content, std::size_t size = 16384) {
  Octets out;
  for (std::size_t i = 0; i < content.size(); i += size) {
    const std::size_t end = std::min(content.size(), i + size);
    out = out + record(22, Octets(content.begin() + static_cast<std::ptrdiff_t>(i),
                                  content.begin() + static_cast<std::ptrdiff_t>(end)));
  }
  return out;
}

/// A server's answer that asks for the hello again.
inline Octets retry_request() {
  const Octets random = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
                         0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
                         0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};
  return message(2, Octets{3, 3} + random + sized(1, {}) + Octets{0x13, 0x01, 0} +
                        sized(2, extension(51, {0, 23})));
}

inline Octets server_hello() {
  return message(2, Octets{3, 3} + Octets(32, 0x77) + sized(1, {}) + Octets{0x13, 0x01, 0} +
                        sized(2, extension(43, {3, 4})));
}

}  // namespace cordon::hello
