// JSON as the audit's programs tell one another about themselves, and texts in it.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace cordon::audit {

/// Keeps the order in which a reader of the report finds things.
using Json = nlohmann::ordered_json;

/// Empty where there is none, or something else than a text.
[[nodiscard]] inline std::string text_of(const Json& json, const char* key) {
  const auto value = json.find(key);
  return value != json.end() && value->is_string() ? value->get<std::string>() : std::string();
}

}  // namespace cordon::audit
