set terminal svg noenhanced size 480,420 font 'Helvetica,12' background '#ffffff'
set encoding utf8
set output 'x.svg'
set border 3 lc rgb '#666666'
set tics nomirror out scale 0.5 textcolor rgb '#222222'
set grid ytics lc rgb '#dddddd' lt 1
set key off
set style fill solid 1
set tmargin 4
set label 1 "Where each device\047s time goes" at graph 0, graph 1 left offset 0,2.2 font ',15' tc rgb '#111111'
set label 2 'share of the simulated epoch, a bar a device' at graph 0, graph 1 left offset 0,0.9 tc rgb '#666666'
set ylabel '% of the epoch'
set xrange [-0.8:4.4]
set yrange [0:100]
unset xtics
set bmargin 4.5
set label '20' at 0,9.99628851 center font ',9' tc rgb '#fdfdfd' front
set label '75' at 0,57.6271186 center font ',9' tc rgb '#202020' front
set label '0' at 0,0 center offset 0,-0.8 font ',10' tc rgb '#222222' front
set label '20' at 1,9.99628851 center font ',9' tc rgb '#fdfdfd' front
set label '75' at 1,57.6271186 center font ',9' tc rgb '#202020' front
set label '1' at 1,0 center offset 0,-0.8 font ',10' tc rgb '#222222' front
set label "small_it\047s \042odd\042^2" at 0.5,0 center offset 0,-1.9 font ',12' tc rgb '#222222' front
set label 'dp, epoch 0.08083 s' at 0.5,0 center offset 0,-2.9 font ',12' tc rgb '#222222' front
set label '14' at 2.8,7.74647887 center font ',9' tc rgb '#fdfdfd' front
set label '85' at 2.8,57.0422535 center font ',9' tc rgb '#202020' front
set label '0' at 2.8,0 center offset 0,-0.8 font ',10' tc rgb '#222222' front
set label '10' at 3.8,4.92957746 center font ',9' tc rgb '#fdfdfd' front
set label '63' at 3.8,41.5492958 center font ',9' tc rgb '#202020' front
set label '25' at 3.8,86.9342723 center font ',9' tc rgb '#212121' front
set label '1' at 3.8,0 center offset 0,-0.8 font ',10' tc rgb '#222222' front
set label "small_it\047s \042odd\042^2" at 3.3,0 center offset 0,-1.9 font ',12' tc rgb '#222222' front
set label 'ahd, epoch 0.00852 s' at 3.3,0 center offset 0,-2.9 font ',12' tc rgb '#222222' front
set key outside right top vertical Left reverse samplen 1 spacing 1.2
$boxes << END
0 0.0494865768 -0.44 0.44 0 0.0989731535 5682409
0 9.99628851 -0.44 0.44 0.0989731535 19.8936039 29362
0 57.6271186 -0.44 0.44 19.8936039 95.3606334 15113984
0 96.7524434 -0.44 0.44 95.3606334 98.1442534 13400487
0 99.0721267 -0.44 0.44 98.1442534 100 40563
1 0.0494865768 0.56 1.44 0 0.0989731535 5682409
1 9.99628851 0.56 1.44 0.0989731535 19.8936039 29362
1 57.6271186 0.56 1.44 19.8936039 95.3606334 15113984
1 96.7524434 0.56 1.44 95.3606334 98.1442534 13400487
1 99.0721267 0.56 1.44 98.1442534 100 40563
2.8 0.352112676 2.36 3.24 0 0.704225352 5682409
2.8 7.74647887 2.36 3.24 0.704225352 14.7887324 29362
2.8 57.0422535 2.36 3.24 14.7887324 99.2957746 15113984
2.8 99.6478873 2.36 3.24 99.2957746 100 40563
3.8 4.92957746 3.36 4.24 0 9.85915493 29362
3.8 41.5492958 3.36 4.24 9.85915493 73.2394366 15113984
3.8 73.943662 3.36 4.24 73.2394366 74.6478873 40563
3.8 86.9342723 3.36 4.24 74.6478873 99.2206573 13158600
3.8 99.6103286 3.36 4.24 99.2206573 100 15461355
END
plot $boxes using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 border rgb '#ffffff' lc rgb variable notitle, \
    NaN with boxes fs solid 1 noborder lc rgb '#ebebeb' title 'idle', \
    NaN with boxes fs solid 1 noborder lc rgb '#c8c8c8' title 'wait', \
    NaN with boxes fs solid 1 noborder lc rgb '#009e73' title 'update', \
    NaN with boxes fs solid 1 noborder lc rgb '#cc79a7' title 'allreduce', \
    NaN with boxes fs solid 1 noborder lc rgb '#e69f00' title 'student', \
    NaN with boxes fs solid 1 noborder lc rgb '#0072b2' title 'teacher', \
    NaN with boxes fs solid 1 noborder lc rgb '#56b4e9' title 'load'
unset output
