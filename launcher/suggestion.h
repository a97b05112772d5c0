// "Did you mean …?": the known word nearest to one that is not known.
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace cordon {

/// The one of `known` that `word` is a typing error of (letters left out, put in, changed or
/// swapped: one, or a third of the word), or the beginning of (from two letters on). The first of
/// those that are equally near; nullopt where none is near.
[[nodiscard]] std::optional<std::string_view> nearest(std::string_view word,
                                                      std::span<const std::string_view> known);

}  // namespace cordon
