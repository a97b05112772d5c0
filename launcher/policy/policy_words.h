// The words that stand for values in a policy file, both ways.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/policy/policy_file.h"

namespace cordon {

template <class T>
struct Word {
  std::string_view text;
  T value;
};

inline constexpr auto kDefaultWords = std::to_array<Word<DefaultAction>>({
    {"deny", DefaultAction::kDeny},
    {"ask", DefaultAction::kAsk},
    {"allow-public", DefaultAction::kAllowPublic},
});
inline constexpr auto kModeWords = std::to_array<Word<PolicyMode>>({
    {"enforce", PolicyMode::kEnforce},
    {"report", PolicyMode::kReport},
    {"ask", PolicyMode::kAsk},
});
inline constexpr auto kActionWords = std::to_array<Word<Action>>({
    {"allow", Action::kAllow},
    {"deny", Action::kDeny},
    {"ask", Action::kAsk},
});
inline constexpr auto kDnsModeWords = std::to_array<Word<NameSettings::Mode>>({
    {"map", NameSettings::Mode::kMap},
    {"pin", NameSettings::Mode::kPin},
    {"open", NameSettings::Mode::kOpen},
    {"off", NameSettings::Mode::kOff},
});
inline constexpr auto kSniWords = std::to_array<Word<NameSettings::Sni>>({
    {"match", NameSettings::Sni::kMatch},
    {"ignore", NameSettings::Sni::kIgnore},
});
inline constexpr auto kEchWords = std::to_array<Word<NameSettings::Ech>>({
    {"outer", NameSettings::Ech::kOuter},
    {"deny", NameSettings::Ech::kDeny},
    {"ignore", NameSettings::Ech::kIgnore},
});
inline constexpr auto kQuicWords = std::to_array<Word<NameSettings::Quic>>({
    {"reject", NameSettings::Quic::kReject},
    {"by-name", NameSettings::Quic::kByName},
});
inline constexpr auto kLogFormatWords = std::to_array<Word<LogFormat>>({
    {"json", LogFormat::kJson},
    {"text", LogFormat::kText},
});

// Types of RFC 1035, 2782, 6844 and so on that a rule may list beside A and AAAA. HTTPS and SVCB
// are not among them: they would carry what names are enforced against (ECH keys, address hints).
inline constexpr auto kDnsTypes = std::to_array<Word<std::uint16_t>>({
    {"CAA", 257},
    {"DS", 43},
    {"MX", 15},
    {"NAPTR", 35},
    {"NS", 2},
    {"SOA", 6},
    {"SRV", 33},
    {"SSHFP", 44},
    {"TLSA", 52},
    {"TXT", 16},
});

template <class T, std::size_t N>
[[nodiscard]] constexpr std::optional<T> value_of(const std::array<Word<T>, N>& words,
                                                  std::string_view text) {
  for (const auto& word : words) {
    if (word.text == text) return word.value;
  }
  return std::nullopt;
}

/// Empty for a value without a word.
template <class T, std::size_t N>
[[nodiscard]] constexpr std::string_view word_for(const std::array<Word<T>, N>& words,
                                                  const T& value) {
  for (const auto& word : words) {
    if (word.value == value) return word.text;
  }
  return {};
}

/// "map, pin, open, off".
template <class T, std::size_t N>
[[nodiscard]] std::string alternatives(const std::array<Word<T>, N>& words) {
  std::string text;
  for (const auto& word : words) {
    if (!text.empty()) text += ", ";
    text += word.text;
  }
  return text;
}

}  // namespace cordon
