#include "http/router.hpp"

#include <utility>

namespace hf::agent {
namespace {

std::vector<std::string> split_pattern(std::string_view pattern) {
  std::vector<std::string> segments;
  while (!pattern.empty()) {
    auto const slash = pattern.find('/');
    if (slash != 0)
      segments.emplace_back(pattern.substr(0, slash));
    if (slash == std::string_view::npos)
      break;
    pattern.remove_prefix(slash + 1);
  }
  return segments;
}

bool is_rest(std::string const& segment) {
  return segment.size() > 4 && segment.front() == '{' &&
         segment.compare(segment.size() - 4, 4, "...}") == 0;
}

bool matches(std::vector<std::string> const& pattern, std::vector<std::string> const& path) {
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (is_rest(pattern[i]))
      return true;
    if (i >= path.size())
      return false;
    if (pattern[i].front() != '{' && pattern[i] != path[i])
      return false;
  }
  return pattern.size() == path.size();
}

}  // namespace

void router::add(std::string_view method, std::string_view pattern, handler handle) {
  routes_.push_back({std::string(method), split_pattern(pattern), std::move(handle)});
}

handler const* router::find(std::string_view method, std::vector<std::string> const& path,
                            bool& path_known) const {
  path_known = false;
  for (auto const& candidate : routes_) {
    if (!matches(candidate.pattern, path))
      continue;
    path_known = true;
    if (candidate.method == "*" || candidate.method == method ||
        (method == "HEAD" && candidate.method == "GET"))
      return &candidate.handle;
  }
  return nullptr;
}

}  // namespace hf::agent
