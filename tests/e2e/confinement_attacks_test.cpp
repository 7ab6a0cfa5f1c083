#include "support/attacks.hpp"
#include "support/confined.hpp"
#include "support/victim.hpp"

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <map>
#include <string>
#include <vector>

using namespace hf::testing_support;

namespace {

std::string name_of(uid_t creator) {
  return creator != 0 ? "an ordinary user" : ::geteuid() == 0 ? "root" : "the caller";
}

std::map<std::string, std::string> targets(victim const& of) {
  return {
      {"VICTIM", of.home()}, {"PID", std::to_string(of.pid())}, {"ABSTRACT", of.abstract_name()}};
}

void try_everything(hf::isolation level, uid_t creator) {
  victim const of(creator);
  inside_options how;
  how.uid = creator;
  how.isolation = level;
  std::vector<attack> tried;
  std::vector<std::string> scripts;
  for (auto const& a : attacks()) {
    if (a.needs_private_root && level != hf::isolation::private_root)
      continue;
    tried.push_back(a);
    scripts.push_back(a.script);
  }
  auto const results = run_inside(how, scripts, targets(of));
  for (std::size_t i = 0; i < tried.size(); ++i) {
    INFO("attack: " << tried[i].what << ", sandbox of " << name_of(creator));
    CAPTURE(results[i].out, results[i].err);
    CHECK(results[i].out.find("REACHED") == std::string::npos);
  }
  CHECK(of.process_lives());
  CHECK(of.key_is_untouched());
}

}  // namespace

TEST_CASE("code in a private root reaches nothing of its user's") {
  auto const creator = GENERATE(from_range(creators()));
  if (auto const reason = why_not(hf::isolation::private_root, creator); !reason.empty())
    SKIP(reason);
  try_everything(hf::isolation::private_root, creator);
}

TEST_CASE("code under Landlock alone reaches nothing of its user's but what is documented") {
  auto const creator = GENERATE(from_range(creators()));
  if (auto const reason = why_not(hf::isolation::landlock_only, creator); !reason.empty())
    SKIP(reason);
  try_everything(hf::isolation::landlock_only, creator);
}

TEST_CASE("the attacks work where there is no isolation") {
  auto const creator = GENERATE(from_range(creators()));
  if (auto const reason = why_not(hf::isolation::private_root, creator); !reason.empty())
    SKIP(reason);
  inside_options how;
  how.uid = creator;
  how.isolation = hf::isolation::none;
  int tried = 0;
  for (auto const& a : attacks()) {
    if (!a.works_unconfined)
      continue;
    victim const of(creator);
    INFO("attack: " << a.what << ", sandbox of " << name_of(creator));
    auto const results = run_inside(how, {a.script}, targets(of));
    CAPTURE(results[0].out, results[0].err);
    CHECK(results[0].out.find("REACHED") != std::string::npos);
    ++tried;
  }
  CHECK(tried > 15);
}
