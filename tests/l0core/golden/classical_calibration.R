# Records what R's survey and sampling packages answer to small calibration problems, for test_classical.py.
#
#   Rscript tests/l0core/golden/classical_calibration.R > tests/l0core/golden/classical_calibration.json
#
# Debian: apt-get install r-base-core r-cran-survey r-cran-sampling r-cran-jsonlite. The tests need no R.
# Every case has q = 1 (no `variance`, no heteroskedasticity) and no `aggregate.stage`: the plain distances.

suppressMessages({library(survey); library(sampling); library(jsonlite)})
data(api)

# ---- data -----------------------------------------------------------------------------------------------------------

indicators <- function(factor, prefix) {
  columns <- outer(as.character(factor), sort(unique(as.character(factor))), "==") * 1
  colnames(columns) <- paste0(prefix, sort(unique(as.character(factor))))
  columns
}

# Our own households: unequal weights in whole numbers, three traits. Nothing here comes from anybody's survey.
own_households <- function() {
  set.seed(1992, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")
  n <- 60
  region <- sample(c("east", "north", "south"), n, replace = TRUE, prob = c(5, 3, 2))
  age <- sample(c("old", "young"), n, replace = TRUE, prob = c(2, 3))
  income <- round(exp(rnorm(n, 10 + 0.3 * (age == "old"), 0.7)))
  list(
    weights = 50 + 10 * sample(0:20, n, replace = TRUE),
    columns = cbind(one = 1, indicators(region, "region_"), indicators(age, "age_"), income = income,
                    indicators(paste(region, age, sep = "_"), "cell_"))
  )
}

schools <- list(
  weights = apiclus1$pw,
  columns = cbind(one = 1, indicators(apiclus1$stype, "stype"), indicators(apiclus1$sch.wide, "sch_wide_"),
                  api99 = apiclus1$api99, enroll = apiclus1$enroll)
)

# Example 1 of the page of sampling::calib.
ten_units <- list(
  weights = rep(1 / 0.2, 10),
  columns = cbind(first = rep(c(1, 0), each = 5), second = rep(c(0, 1), each = 5), x = 1:10)
)

sources <- list(
  households = list(data = own_households(), source = "made here, seed 1992", licence = "that of this repository"),
  schools = list(
    data = schools,
    source = paste("survey::apiclus1, 183 schools: type, Academic Performance Index of 1999, enrolment, growth target",
                   "met; no names. Published by the California Department of Education"),
    licence = "facts of public record, by way of the survey package (GPL-2 | GPL-3); none of its code is here"
  ),
  ten_units = list(data = ten_units, source = "example 1 of help page sampling::calib", licence = "ten numbers, cited")
)

# ---- the two programs -----------------------------------------------------------------------------------------------

# survey stops when every |misfit| / (1 + |total|) < epsilon. Its default, 1e-7, leaves g off by 1.3e-6 in the bounded
# raking below; every other case is then right to 3e-8.
TIGHT <- list(epsilon = 1e-13, maxit = 200)

# sampling stops at a relative misfit of 1e-6, fixed in its body as EPS1, which leaves g off by 5e-6 in the logit cases
# below (its steps there are not Newton's): the same function with that number smaller.
to_the_end <- function(f, tolerance) {
  places <- which(sapply(as.list(body(f)), function(x) is.call(x) && identical(x[[2]], quote(EPS1))))
  stopifnot(length(places) == 1)
  body(f)[[places]][[3]] <- tolerance
  f
}

design_of <- function(case) {
  frame <- data.frame(case$columns, design_weight = case$weights)
  svydesign(ids = ~1, weights = ~design_weight, data = frame)
}

ask_survey <- function(case) {
  bounds <- c(if (is.null(case$lower)) -Inf else case$lower, if (is.null(case$upper)) Inf else case$upper)
  calibrated <- calibrate(design_of(case), reformulate(colnames(case$columns), intercept = FALSE), case$targets,
                          calfun = case$distance, bounds = bounds, epsilon = TIGHT$epsilon, maxit = TIGHT$maxit)
  as.vector(weights(calibrated)) / case$weights
}

ask_sampling <- function(case, tolerance = 1e-10) {
  bounded <- !is.null(case$lower)
  method <- if (case$distance == "linear" && bounded) "truncated" else case$distance
  arguments <- list(case$columns, case$weights, case$targets, method = method)
  if (bounded) arguments$bounds <- c(low = case$lower, upp = case$upper)
  as.vector(do.call(to_the_end(calib, tolerance), arguments))
}

ask_post_stratify <- function(case) {
  cell <- colnames(case$columns)[max.col(case$columns)]
  design <- svydesign(ids = ~1, weights = ~w, data = data.frame(w = case$weights, cell = cell))
  after <- postStratify(design, ~cell, data.frame(cell = colnames(case$columns), Freq = case$targets))
  as.vector(weights(after)) / case$weights
}

# rake() stops when no cell of the table moves by more than epsilon, by default a whole unit: the 3647300 printed in
# tests/rakecheck.Rout.save, where calibrate() has 3647280.
ask_rake <- function(case) {
  margins <- list(case$columns[, case$margins == 1], case$columns[, case$margins == 2])
  frame <- data.frame(w = case$weights, lapply(margins, function(m) colnames(m)[max.col(m)]))
  names(frame) <- c("w", "a", "b")
  design <- svydesign(ids = ~1, weights = ~w, data = frame)
  totals <- list(data.frame(a = colnames(margins[[1]]), Freq = case$targets[case$margins == 1]),
                 data.frame(b = colnames(margins[[2]]), Freq = case$targets[case$margins == 2]))
  raked <- rake(design, list(~a, ~b), totals, control = list(maxit = 1000, epsilon = 1e-15))
  as.vector(weights(raked)) / case$weights
}

PROGRAMS <- list(
  "survey::calibrate" = ask_survey, "sampling::calib" = ask_sampling,
  "survey::postStratify" = ask_post_stratify, "survey::rake" = ask_rake
)
BOTH <- c("survey::calibrate", "sampling::calib")

# ---- the cases ------------------------------------------------------------------------------------------------------

case <- function(data, rows, targets, distance, lower = NULL, upper = NULL, asked = BOTH, margins = NULL,
                 published = list(), gives_up = character(0)) {
  all_columns <- sources[[data]]$data$columns
  list(data = data, rows = rows, columns = all_columns[, rows, drop = FALSE], weights = sources[[data]]$data$weights,
       targets = targets, distance = distance, lower = lower, upper = upper, asked = asked, margins = margins,
       published = published, gives_up = gives_up)
}

printed <- function(what, values, decimals, where) {
  list(what = what, values = values, decimals = decimals, where = where)
}
RANGE <- "smallest and largest g"
ENROLL <- "weighted total of enroll"
CALEG <- "survey, tests/caleg.Rout.save (on CRAN since 2007, the same digits in R 2.6 and 3.4)"
RAKECHECK <- "survey, tests/rakecheck.Rout.save"
HELP <- "survey 4.1-1, printed by example(calibrate)"

TYPE <- c("one", "stypeH", "stypeM")
TYPE_TOTALS <- c(6194, 755, 1018)                    # of all 6,194 schools (apipop), as on the page of calibrate
API <- c(TYPE, "api99")
API_TOTALS <- c(TYPE_TOTALS, 3914069)
UNITS <- c("first", "second", "x")
UNIT_TOTALS <- c(24, 26, 290)
HOME <- c("one", "region_north", "region_south", "age_old", "income")
home_sums <- colSums(sources$households$data$columns * sources$households$data$weights)
moved <- function(rows, factors) round(unname(home_sums[rows]) * factors)
MILD <- moved(HOME, c(1.02, 1.12, 0.9, 1.08, 1.06))
WILD <- moved(HOME, c(1.0, 1.3, 0.6, 0.8, 1.55))     # far enough that GREG gives negative weights
CELLS <- grep("^cell_", colnames(sources$households$data$columns), value = TRUE)
MARGINS <- c("region_east", "region_north", "region_south", "age_old", "age_young")

cases <- list(
  "schools, linear, type" = case("schools", TYPE, TYPE_TOTALS, "linear", published = list(
    printed(ENROLL, 3680893, 0, HELP))),
  "schools, linear, type and api99" = case("schools", API, API_TOTALS, "linear", published = list(
    printed(RANGE, c(0.4185925, 1.8332949), 7, HELP), printed(ENROLL, 3638487, 0, HELP))),
  "schools, linear, enroll" = case("schools", c("one", "enroll"), c(6194, 3811472), "linear", published = list(
    printed(RANGE, c(0.7906782, 1.7891164), 7, CALEG))),
  "schools, truncated 0.6 to 1.5, enroll" = case("schools", c("one", "enroll"), c(6194, 3811472), "linear", 0.6, 1.5,
    published = list(printed(RANGE, c(0.7198751, 1.5), 7, CALEG))),
  "schools, truncated 0.6 to 1.6, type and api99" = case("schools", API, API_TOTALS, "linear", 0.6, 1.6,
    published = list(printed(RANGE, c(0.6, 1.6), 7, HELP), printed(ENROLL, 3662213, 0, HELP))),
  "schools, raking, type and api99" = case("schools", API, API_TOTALS, "raking", published = list(
    printed(RANGE, c(0.5342314, 1.9947612), 7, HELP))),
  "schools, logit 0.5 to 2.5, type and api99" = case("schools", API, API_TOTALS, "logit", 0.5, 2.5, published = list(
    printed(RANGE, c(0.5943692, 1.9358791), 7, HELP))),
  "schools, two margins" = case("schools", c("stypeE", "stypeH", "stypeM", "sch_wide_No", "sch_wide_Yes"),
    c(4421, 755, 1018, 1072, 5122), "raking", asked = c("survey::rake", BOTH), margins = c(1, 1, 1, 2, 2),
    published = list(printed(ENROLL, 3647280, 0, RAKECHECK))),
  "ten units, linear" = case("ten_units", UNITS, UNIT_TOTALS, "linear"),
  "ten units, raking" = case("ten_units", UNITS, UNIT_TOTALS, "raking"),
  "ten units, truncated 0.75 to 1.2" = case("ten_units", UNITS, UNIT_TOTALS, "linear", 0.75, 1.2, published = list(
    printed("g", c(0.75, 0.85125, 0.95875, 1.06625, 1.17375, 0.83875, 0.94625, 1.05375, 1.16125, 1.2),
            5, "sampling 2.9, printed by example(calib)"))),
  "ten units, logit 0.75 to 1.2" = case("ten_units", UNITS, UNIT_TOTALS, "logit", 0.75, 1.2),
  "households, linear" = case("households", HOME, MILD, "linear"),
  "households, raking" = case("households", HOME, MILD, "raking"),
  "households, logit 0.7 to 1.7" = case("households", HOME, MILD, "logit", 0.7, 1.7),
  "households, truncated 0.9 to 1.3" = case("households", HOME, MILD, "linear", 0.9, 1.3),
  "households far off, linear, some negative" = case("households", HOME, WILD, "linear"),
  "households far off, linear, none negative" = case("households", HOME, WILD, "linear", 0, asked = BOTH[1]),
  "households far off, raking" = case("households", HOME, WILD, "raking"),
  "households far off, raking 0.3 to 3.5" = case("households", HOME, WILD, "raking", 0.3, 3.5, asked = BOTH[1]),
  "households far off, truncated 0.2 to 3" = case("households", HOME, WILD, "linear", 0.2, 3),
  "households far off, logit 0.2 to 3" = case("households", HOME, WILD, "logit", 0.2, 3),
  "households, raking, no constant" = case("households", HOME[c(2, 5)], MILD[c(2, 5)], "raking"),
  "households, logit 0.6 to 2.5, no constant" = case("households", HOME[c(2, 5)], MILD[c(2, 5)], "logit", 0.6, 2.5),
  "households, post-stratification" = case("households", CELLS, moved(CELLS, c(1.3, 0.8, 1.1, 0.7, 1.05, 1.4)),
    "linear", asked = c("survey::postStratify", BOTH)),
  "households, two margins" = case("households", MARGINS, c(4800, 2500, 1700, 4000, 5000), "raking",
    asked = c("survey::rake", BOTH), margins = c(1, 1, 1, 2, 2)),
  "households, raking 0.9 to 1.2" = case("households", HOME, MILD, "raking", 0.9, 1.2, asked = c(), gives_up = BOTH[1]),
  "households, logit 0.9 to 1.3" = case("households", HOME, MILD, "logit", 0.9, 1.3, asked = c(), gives_up = BOTH),
  "households far off, truncated 0.2 to 2.8" = case("households", HOME, WILD, "linear", 0.2, 2.8, asked = c(),
    gives_up = BOTH)
)

# ---- the record -----------------------------------------------------------------------------------------------------

answer <- function(case, program) {
  g <- PROGRAMS[[program]](case)
  misfit <- max(abs(colSums(case$columns * case$weights * g) / case$targets - 1))
  stopifnot(misfit < 1e-9)
  list(program = unbox(program), largest_relative_misfit = unbox(signif(misfit, 3)), g = signif(g, 12))
}

agrees_with_print <- function(case, g, print) {
  found <- switch(print$what, "g" = g, "smallest and largest g" = range(g),
                  "weighted total of enroll" = sum(case$weights * g * schools$columns[, "enroll"]))
  identical(round(found, print$decimals), print$values)
}

as_printed <- function(print) {
  list(what = unbox(print$what), values = print$values, decimals = unbox(print$decimals), where = unbox(print$where))
}

# These problems can be met within their bounds; neither program says so, each stops without an answer.
stopped_without <- function(case, program) {
  g <- tryCatch(suppressWarnings({capture.output(g <- PROGRAMS[[program]](case)); g}), error = function(e) NULL)
  is.null(g) || max(abs(colSums(case$columns * case$weights * g) / case$targets - 1)) > 1e-6
}

record <- function(case) {
  for (program in case$gives_up) stopifnot(stopped_without(case, program))
  answers <- lapply(case$asked, function(program) answer(case, program))
  for (print in case$published) for (given in answers) stopifnot(agrees_with_print(case, given$g, print))
  number <- function(x) if (is.null(x)) unbox(NA_real_) else unbox(x)
  list(data = unbox(case$data), rows = case$rows, targets = case$targets, distance = unbox(case$distance),
       lower_ratio = number(case$lower), upper_ratio = number(case$upper), answers = answers, gives_up = case$gives_up,
       published = lapply(case$published, as_printed))
}

data_set <- function(source) {
  columns <- source$data$columns
  list(source = unbox(source$source), licence = unbox(source$licence), design_weights = source$data$weights,
       columns = lapply(setNames(colnames(columns), colnames(columns)), function(name) unname(columns[, name])))
}

made_by <- list(
  script = "classical_calibration.R", R = R.version.string, survey = as.character(packageVersion("survey")),
  sampling = as.character(packageVersion("sampling")), packages = "Debian 12: r-cran-survey, r-cran-sampling",
  survey_calibrate = "epsilon = 1e-13, maxit = 200; svydesign(ids = ~1): no design changes the weights",
  survey_rake = "control = list(maxit = 1000, epsilon = 1e-15)",
  sampling_calib = "its stopping tolerance EPS1 set from 1e-6 to 1e-10; bounded linear is method = 'truncated'",
  bounds = "ratios of calibrated to design weight; null is no bound"
)

everything <- list(made_by = lapply(made_by, unbox), data = lapply(sources, data_set), cases = lapply(cases, record))
on_one_line <- toJSON(everything, digits = NA, na = "null")
cat(gsub('([,{])("[^"]*":)', "\\1\n\\2", on_one_line), "\n", sep = "")  # a line for every name
