#include "exec/spawn.hpp"

#include <signal.h>
#include <sys/resource.h>

#include <cerrno>
#include <string>

namespace hf::agent {
namespace {

constexpr std::string_view default_path =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string_view variable(std::vector<std::string> const& env, std::string_view name, bool& found) {
  for (std::string_view const entry : env)
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name)) {
      found = true;
      return entry.substr(name.size() + 1);
    }
  found = false;
  return {};
}

}  // namespace

void resume_or_kill(pid_t child, int& stops) {
  ::kill(child, ++stops > tolerated_stops ? SIGKILL : SIGCONT);
}

bool spawn_failure::exhausted() const noexcept {
  return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
}

std::vector<std::string> program_candidates(std::string const& program,
                                            std::vector<std::string> const& env) {
  if (program.find('/') != std::string::npos)
    return {program};
  if (program.empty())
    return {};
  bool found = false;
  std::string_view path = variable(env, "PATH", found);
  if (!found)
    path = default_path;
  std::vector<std::string> candidates;
  for (;;) {
    auto const colon = path.find(':');
    std::string candidate(path.substr(0, colon));
    // An empty part means the working directory.
    candidate += candidate.empty() ? "./" : "/";
    candidates.push_back(candidate + program);
    if (colon == path.npos)
      return candidates;
    path.remove_prefix(colon + 1);
  }
}

std::optional<int> limit_by_name(std::string_view name) {
  struct entry {
    std::string_view name;
    int number;
  };
  static constexpr entry known[] = {
      {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"as", RLIMIT_AS},
      {"cpu", RLIMIT_CPU},       {"fsize", RLIMIT_FSIZE}, {"core", RLIMIT_CORE},
      {"stack", RLIMIT_STACK},   {"data", RLIMIT_DATA},   {"memlock", RLIMIT_MEMLOCK}};
  for (auto const& limit : known)
    if (limit.name == name)
      return limit.number;
  return std::nullopt;
}

}  // namespace hf::agent
