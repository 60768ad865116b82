"""Files → texts → decoded documents → checked units → Blueprint. All problems of all files are found before any is reported."""
