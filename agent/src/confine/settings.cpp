#include "confine/settings.hpp"

#include <cerrno>
#include <cstdlib>
#include <string_view>

namespace hf::agent::confine {

namespace {

constexpr std::string_view confine_flag = "--confine=";

bool take(std::string_view argument, std::string_view flag, std::string_view& value) {
  if (argument.substr(0, flag.size()) != flag)
    return false;
  value = argument.substr(flag.size());
  return true;
}

bool parse_number(std::string_view text, long& into) {
  std::string const copy(text);
  char* end = nullptr;
  errno = 0;
  into = std::strtol(copy.c_str(), &end, 10);
  return errno == 0 && !copy.empty() && *end == '\0' && into >= 0;
}

bool parse_descriptor(std::string_view text, int& into) {
  long value = 0;
  if (!parse_number(text, value) || value < 3 || value > 1000)
    return false;
  into = static_cast<int>(value);
  return true;
}

bool parse_mode(std::string_view text, mode& into) {
  if (text == "private-root")
    into = mode::private_root;
  else if (text == "landlock-only")
    into = mode::landlock_only;
  else if (text == "none")
    into = mode::none;
  else
    return false;
  return true;
}

}  // namespace

bool asked_for(int argc, char** argv) {
  return argc > 1 && std::string_view(argv[1]).substr(0, confine_flag.size()) == confine_flag;
}

std::string parse_settings(int& argc, char** argv, settings& into) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    std::string const argument = argv[i];
    int const at = i;
    std::string_view value;
    bool good = true;
    if (take(argument, confine_flag, value))
      good = parse_mode(value, into.mode);
    else if (take(argument, "--state=", value))
      into.state = value;
    else if (take(argument, "--scratch=", value))
      into.scratch = value;
    else if (take(argument, "--state-alias=", value))
      into.alias = value;
    else if (take(argument, "--home=", value))
      into.home = value;
    else if (take(argument, "--lifeline-fd=", value))
      good = parse_descriptor(value, into.lifeline_fd);
    else if (take(argument, "--status-fd=", value))
      good = parse_descriptor(value, into.status_fd);
    else if (take(argument, "--lock-fd=", value))
      good = parse_descriptor(value, into.lock_fd);
    else if (take(argument, "--lifetime=", value))
      good = parse_number(value, into.lifetime);
    else if (argument == "--no-network")
      into.network = false;
    else if (argument == "--remove-base")
      into.remove_base = true;
    else if (argument == "--volume-ro" || argument == "--volume-rw") {
      good = i + 2 < argc && argv[i + 1][0] == '/' && argv[i + 2][0] == '/';
      if (good) {
        into.volumes.push_back({argument == "--volume-ro", argv[i + 1], argv[i + 2]});
        i += 2;
      }
    } else {
      argv[kept++] = argv[i];
      continue;
    }
    for (int consumed = at; consumed <= i; ++consumed)
      into.consumed.push_back(argv[consumed]);
    if (!good)
      return "bad flag " + argument;
  }
  argc = kept;
  argv[kept] = nullptr;
  if (into.state.empty() || into.state[0] != '/')
    return "--state must be an absolute path";
  if (into.scratch.empty() || into.scratch[0] != '/')
    return "--scratch must be an absolute path";
  if (into.lifeline_fd < 0 || into.status_fd < 0 || into.lock_fd < 0)
    return "--lifeline-fd, --status-fd and --lock-fd are needed";
  if (into.mode != mode::private_root && (!into.network || !into.volumes.empty()))
    return "--no-network and volumes need --confine=private-root";
  return {};
}

}  // namespace hf::agent::confine
