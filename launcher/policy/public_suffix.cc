#include "launcher/policy/public_suffix.h"

#include <libpsl.h>

namespace cordon {

struct PublicSuffixes::List {
  // Owned, but for the built-in one, which psl_free() leaves alone.
  psl_ctx_t* context = psl_latest(nullptr);
};

PublicSuffixes::PublicSuffixes() : list_(std::make_unique<List>()) {}

PublicSuffixes::~PublicSuffixes() { psl_free(list_->context); }

bool PublicSuffixes::is_of_registrars(const std::string& name) const {
  return list_->context != nullptr &&
         psl_is_public_suffix2(list_->context, name.c_str(),
                               PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) == 1;
}

bool PublicSuffixes::is_public(const std::string& name) const {
  return list_->context != nullptr &&
         psl_is_public_suffix2(list_->context, name.c_str(),
                               PSL_TYPE_ANY | PSL_TYPE_NO_STAR_RULE) == 1;
}

}  // namespace cordon
