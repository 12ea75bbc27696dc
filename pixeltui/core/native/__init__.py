"""The steps of a row as compiled code: optional, built at install where there is a C compiler, exact like the rest."""
